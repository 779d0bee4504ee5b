"""Evaluate a guard: attack its model, judge everything, and write down what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from advdetect import storage
from advdetect.attacks import ATTACKS, AttackResult, AttackRun, attack
from advdetect.checks import check_images, check_labels
from advdetect.data import ImageSet
from advdetect.detectors import DETECTORS, Detector
from advdetect.detectors.conformal import ConformalCalibration
from advdetect.guard import Guard
from advdetect.metrics import auroc, balanced_accuracy, false_alarm_interval, median, rate
from advdetect.report.report import (
    ALPHAS,
    Clean,
    DetectionRow,
    FalseAlarms,
    LayerRow,
    Report,
    Robustness,
    WorstCase,
)
from advdetect.report.warnings import find_warnings
from advdetect.runs import versions
from advdetect.workflows.observing import Classes, Observed, observe
from advdetect.workflows.partitioning import cut_attacks
from advdetect.workflows.progress import Track, untracked


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A report, and all that its figures and its records are made from."""

    report: Report
    clean: Observed
    attacked: tuple[tuple[AttackResult, Observed], ...]


def evaluate(
    guard: Guard,
    images: Tensor,
    labels: Tensor,
    *,
    suite: str = "standard",
    seed: int = 0,
    attacked: AttackRun | None = None,
    model: str = "model",
    data: str = "images",
    split: str = "evaluation",
    track: Track = untracked,
) -> Report:
    """Say what a guard is worth on images that neither training nor fitting has seen.

    Args:
        guard: The guard.
        images: ``(n, c, h, w)`` clean pixels in [0, 1].
        labels: ``(n,)`` true classes.
        suite: Name in ``SUITES``.
        seed: Seeds the attacks.
        attacked: Attacks already made on these images, instead of a suite.
        model: Name of the model, for the report.
        data: Name of the data, for the report.
        split: Which split the images are, for the report.
        track: Shows progress.

    Raises:
        InputError: images or labels that do not fit the guard.
    """
    run = attacked or attack(guard.model, images, labels, suite=suite, seed=seed, track=track)
    set_ = ImageSet(data, split, images, labels, torch.arange(len(labels)), ())
    return evaluate_attacks(guard, set_, run, model=model, track=track).report


def evaluate_attacks(
    guard: Guard, images: ImageSet, run: AttackRun, *, model: str, track: Track = untracked
) -> Evaluation:
    """Judge clean and attacked images, and fit what is compared with the guard.

    Every detector in ``DETECTORS`` is fitted on the guard's own fitting rows and calibrated on
    the same images as the guard; each family of attacks is left out of fitting in turn.
    """
    check_images(images.images, shape=guard.input_shape)
    check_labels(images.labels, len(images))
    clean = observe(guard, images.images, track, "judging clean images")
    attacked = tuple(
        (result, observe(guard, result.adversarial, track, f"judging {result.budget}"))
        for result in run.results
    )
    judges = _Judges(guard, clean, attacked)
    detection = judges.rows(guard.detector_name)
    for name in DETECTORS:
        if name != guard.detector_name and (guard.fitting.budgets or DETECTORS[name].clean_only):
            detection += judges.rows(name)
    report = Report(
        model,
        images.name,
        images.split,
        run.seed,
        _clean(guard, clean, images.labels.numpy()),
        tuple(_robustness(result) for result in run.results),
        tuple(detection),
        tuple(judges.layers()) if guard.fitting.budgets else (),
        cut_attacks(guard, clean, attacked),
        worst_case=_worst_case(len(run.results[0]), attacked),
        guard={
            "detector": guard.detector_name,
            "false_alarm_rate": guard.false_alarm_rate,
            "model_sha256": storage.fingerprint(guard.model.state_dict()),
            "features": len(guard.extractor.columns),
            **{key: guard.about[key] for key in ("images", "suite") if key in guard.about},
            "suite_evaluated": run.suite,
        },
        versions=versions(),
    )
    return Evaluation(replace(report, warnings=find_warnings(report)), clean, attacked)


class _Judges:
    """Detectors compared on the same rows."""

    def __init__(
        self,
        guard: Guard,
        clean: Observed,
        attacked: Sequence[tuple[AttackResult, Observed]],
    ) -> None:
        self.guard = guard
        self.clean = clean
        self.attacked = [(r, o[r.counted.cpu().numpy()]) for r, o in attacked]
        fitted = guard.fitting
        self.families = {ATTACKS[budget.split()[0]].family for budget in fitted.budgets}

    def rows(self, name: str) -> list[DetectionRow]:
        """One detector on every attack, fitted on all and with the attack's family left out."""
        own = name == self.guard.detector_name
        detector = self.guard.detector if own else self.guard.fitting.fit(DETECTORS[name]())
        judge = _Judge(self.guard, detector, self.clean)
        found = [
            judge.row(name, r, o, fitted_on_it=self._fitted(r, detector)) for r, o in self.attacked
        ]
        if detector.clean_only:
            return found
        for family in sorted(self.families):
            without = [b for b in self.guard.fitting.budgets if _family(b) == family]
            if len(self.families) < 2:
                continue
            other = self.guard.fitting.fit(
                DETECTORS[name](**detector.get_params()), without=without
            )
            unseen = _Judge(self.guard, other, self.clean)
            found += [
                unseen.row(name, r, o, fitted_on_it=False)
                for r, o in self.attacked
                if ATTACKS[r.attack].family == family
            ]
        return found

    def layers(self) -> list[LayerRow]:
        """The simple classifier on one layer's columns of one family at a time."""
        columns = self.guard.extractor.columns
        groups = list(dict.fromkeys((c.layer, c.family) for c in columns))
        attacked = np.concatenate(
            [o.rows for r, o in self.attacked if not r.control] or [self.clean.rows[:0]]
        )
        predicted = np.concatenate(
            [o.predicted for r, o in self.attacked if not r.control] or [self.clean.predicted[:0]]
        )
        found: list[LayerRow] = []
        half = np.arange(len(self.clean.rows)) % 2 == 0
        for layer, family in groups:
            chosen = [i for i, c in enumerate(columns) if (c.layer, c.family) == (layer, family)]
            part = replace(self.guard.fitting, rows=self.guard.fitting.rows[:, chosen])
            detector = part.fit(DETECTORS["logistic"]())
            scores = detector.decision_function(
                self.clean.rows[:, chosen], predicted=self.clean.predicted
            )
            hit = detector.decision_function(attacked[:, chosen], predicted=predicted)
            # Half of the clean images set the threshold: these columns have no calibration.
            flags = ConformalCalibration(scores[half]).p_values(hit) <= 0.05
            found.append(
                LayerRow(layer or "logits", family, rate(flags), auroc(scores[~half], hit))
            )
        return found

    def _fitted(self, result: AttackResult, detector: Detector) -> bool:
        return not detector.clean_only and ATTACKS[result.attack].family in self.families


class _Judge:
    """One fitted detector with thresholds from rows apart from those it is judged on."""

    def __init__(self, guard: Guard, detector: Detector, clean: Observed) -> None:
        self.detector = detector
        own = detector is guard.detector
        if own:
            calibration = guard.calibration
            self.clean_scores = clean.score
        else:
            calibration = ConformalCalibration(guard.held_out.scores(detector))
            self.clean_scores = detector.decision_function(clean.rows, predicted=clean.predicted)
        self.calibration = calibration
        self.clean_p = calibration.p_values(self.clean_scores, clean.predicted)
        self.threshold = guard.fitting.balanced_threshold(detector)

    def row(
        self, name: str, result: AttackResult, hit: Observed, *, fitted_on_it: bool
    ) -> DetectionRow:
        spec = ATTACKS[result.attack]
        scores = (
            self.detector.decision_function(hit.rows, predicted=hit.predicted)
            if len(hit.rows)
            else np.zeros(0)
        )
        p_values = self.calibration.p_values(scores, hit.predicted)
        return DetectionRow(
            name,
            result.attack,
            spec.norm,
            result.eps,
            spec.control,
            fitted_on_it,
            auroc(self.clean_scores, scores),
            balanced_accuracy(self.clean_scores > self.threshold, scores > self.threshold),
            {f"{alpha:g}": rate(p_values <= alpha) for alpha in ALPHAS},
        )


def _family(budget: str) -> str:
    return ATTACKS[budget.split()[0]].family


def _clean(guard: Guard, clean: Observed, labels: Classes) -> Clean:
    right = clean.predicted == labels
    calibration = len(guard.calibration.scores)
    alarms: list[FalseAlarms] = []
    for alpha in sorted({*ALPHAS, guard.false_alarm_rate}, reverse=True):
        seen = rate(clean.p_value <= alpha)
        low, high = false_alarm_interval(alpha, calibration, len(labels))
        alarms.append(
            FalseAlarms(
                alpha, seen.value or 0.0, seen.low or 0.0, seen.high or 1.0, seen.n, low, high
            )
        )
    return Clean(len(labels), rate(right), rate(right[~clean.flagged]), tuple(alarms))


def _robustness(result: AttackResult) -> Robustness:
    right = (result.clean_prediction == result.labels).numpy()
    broken = result.success.numpy()
    return Robustness(
        result.attack,
        result.norm,
        result.eps,
        rate(~broken),
        rate(broken[right]),
        median(result.distances.numpy()[right & broken]),
        result.control,
    )


def _worst_case(n: int, attacked: Sequence[tuple[AttackResult, Observed]]) -> WorstCase | None:
    """Images that hold under every attack that was run on all of them."""
    every = [(r, o) for r, o in attacked if not r.control and len(r) == n]
    if not every:
        return None
    broken = np.stack([result.success.numpy() for result, _ in every])
    passed = np.stack([~seen.flagged for _, seen in every])
    return WorstCase(len(every), rate(~broken.any(0)), rate(~(broken & passed).any(0)))
