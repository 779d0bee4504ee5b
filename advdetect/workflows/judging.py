"""Judge clean and attacked images by a guard, and by what it is compared with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advdetect import storage
from advdetect.attacks import ATTACKS, AttackResult, AttackRun
from advdetect.data import ImageSet
from advdetect.detectors import DETECTORS, Detector
from advdetect.detectors.conformal import ConformalCalibration
from advdetect.guard import Guard
from advdetect.guard.rows import family_of
from advdetect.runs import versions
from advdetect.runs.records import Block
from advdetect.workflows.observing import Observed
from advdetect.workflows.partitioning import cut_attacks
from advdetect.workflows.recording import attack_block, clean_block, twins

SCORE_KEYS = ("detector", "left_out", "layer", "features", "attack", "eps", "fitted")
CLEAN = "clean"

Seen = Sequence[tuple[AttackResult, Observed]]


@dataclass(frozen=True, eq=False)
class Judged:
    """All that a report is made from, example by example.

    Attributes:
        about: What was judged by what, as plain JSON.
        records: The guard's own verdicts: clean images, then every attack.
        scores: Of every detector, and of its fits without a family of attacks, on the rows that
            a report counts: clean images first. ``above`` tells scores above the detector's
            balanced threshold. Rows of one layer's features alone name the layer.
        cuts: Sides of the Fiedler cut, an attack and a predicted class at a time.
        members: Of an ensemble, see ``evaluate_members``.
    """

    about: Mapping[str, Any]
    records: tuple[Block, ...]
    scores: tuple[Block, ...]
    cuts: tuple[Block, ...]
    members: tuple[Block, ...] = ()


def judge(
    guard: Guard, images: ImageSet, run: AttackRun, clean: Observed, attacked: Seen, *, model: str
) -> Judged:
    """Put down every verdict, and the scores of every other detector of the same rows.

    Every detector in ``DETECTORS`` that reads the guard's features is fitted on the guard's own
    fitting rows and calibrated on the same images; each family of attacks is left out in turn.

    Args:
        guard: The guard.
        images: Clean images.
        run: Attacks on some of them.
        clean: What the guard sees of ``images``.
        attacked: What it sees of each result of the run.
        model: The model's name.
    """
    own = guard.detector_name
    records = [clean_block(own, images, clean)]
    for result, seen in attacked:
        records.append(attack_block(result, twins(result.source, images), own, seen))
    judges = _Judges(guard, images, clean, attacked)
    scores = list(judges.blocks(own))
    families = DETECTORS[own].families
    for name, kind in DETECTORS.items():
        of_these_rows = name != own and kind.families == families
        if of_these_rows and (guard.fitting.budgets or kind.clean_only):
            scores += judges.blocks(name)
    if guard.fitting.budgets:
        scores += judges.layers()
    about: dict[str, Any] = {
        "model": model,
        "data": images.name,
        "split": images.split,
        "seed": run.seed,
        "calibration": len(guard.calibration.scores),
        "calibrated_apart": guard.calibration.counts,
        "threshold": _threshold(guard),
        "guard": {
            "detector": own,
            "false_alarm_rate": guard.false_alarm_rate,
            "model_sha256": storage.fingerprint(guard.model.state_dict()),
            "features": len(guard.extractor.columns),
            **{key: guard.about[key] for key in ("images", "suite") if key in guard.about},
            "suite_evaluated": run.suite,
        },
        "versions": versions(),
    }
    return Judged(about, tuple(records), tuple(scores), cut_attacks(guard, clean, attacked))


def score_blocks(
    guard: Guard, images: ImageSet, clean: Observed, attacked: Seen, *others: str
) -> Iterator[Block]:
    """Scores of a guard's own detector, as it was fitted and with families left out.

    Args:
        guard: The guard.
        images: Clean images.
        clean: What the guard sees of ``images``.
        attacked: What it sees of each result of a run.
        others: Names of detectors to fit on the guard's rows and to compare with it.
    """
    judges = _Judges(guard, images, clean, attacked)
    for name in (guard.detector_name, *others):
        yield from judges.blocks(name)


class _Judges:
    """Detectors compared on the same rows."""

    def __init__(self, guard: Guard, images: ImageSet, clean: Observed, attacked: Seen) -> None:
        self.guard = guard
        self.clean = clean
        self.index = images.index.numpy()
        self.attacked = []
        for result, seen in attacked:
            counted = result.counted.cpu().numpy()
            self.attacked.append((result, seen[counted], result.index.numpy()[counted]))
        self.families = {family_of(budget) for budget in guard.fitting.budgets}

    def blocks(self, name: str) -> Iterator[Block]:
        """One detector on every attack, fitted on all and with the attack's family left out."""
        own = name == self.guard.detector_name
        detector = self.guard.detector if own else self.guard.fitting.fit(DETECTORS[name]())
        yield from self._judged(name, detector, "")
        if detector.clean_only or len(self.families) < 2:
            return
        for family in sorted(self.families):
            without = [b for b in self.guard.fitting.budgets if family_of(b) == family]
            other = DETECTORS[name](**detector.get_params())
            yield from self._judged(name, self.guard.fitting.fit(other, without=without), family)

    def _judged(self, name: str, detector: Detector, left_out: str) -> Iterator[Block]:
        if detector is self.guard.detector:
            calibration, clean_scores = self.guard.calibration, self.clean.score
        else:
            # As the guard is calibrated, by class or not: else shares found would not compare.
            calibration = ConformalCalibration(
                self.guard.held_out.scores(detector), self.guard.calibration.predicted
            )
            clean_scores = self._scores(detector, self.clean)
        threshold = self.guard.fitting.balanced_threshold(detector)

        def block(
            attack: str, eps: float | None, at: NDArray[Any], scores: NDArray[Any], seen: Observed
        ) -> Block:
            fitted = not left_out and not detector.clean_only and attack != CLEAN
            fitted = fitted and ATTACKS[attack].family in self.families
            keys = (name, left_out, "", "", attack, eps, fitted)
            return Block(
                dict(zip(SCORE_KEYS, keys, strict=True)),
                {
                    "index": at,
                    "score": scores,
                    "p_value": calibration.p_values(scores, seen.predicted),
                    "above": scores > threshold,
                },
            )

        yield block(CLEAN, None, self.index, clean_scores, self.clean)
        for result, seen, at in self.attacked:
            if not left_out or ATTACKS[result.attack].family == left_out:
                scores = self._scores(detector, seen)
                yield block(result.attack, result.eps, at, scores, seen)

    def layers(self) -> Iterator[Block]:
        """The simple classifier on one layer's columns of one family at a time."""
        columns = self.guard.extractor.columns
        attacks = [(seen, at) for result, seen, at in self.attacked if not result.control]
        half = np.arange(len(self.clean.rows)) % 2 == 0
        for layer, family in dict.fromkeys((c.layer, c.family) for c in columns):
            chosen = [i for i, c in enumerate(columns) if (c.layer, c.family) == (layer, family)]
            every = self.guard.fitting
            part = replace(every, rows=every.rows[:, chosen], source=None, roles=None)
            detector = part.fit(DETECTORS["logistic"]())
            clean = self._scores(detector, self.clean, chosen)
            # Half of the clean images set the threshold: these columns have no calibration.
            calibration = ConformalCalibration(clean[half])
            kinds = [(CLEAN, clean[~half], self.index[~half])]
            if attacks:
                hit = [self._scores(detector, seen, chosen) for seen, _ in attacks]
                kinds.append(
                    ("all attacks", np.concatenate(hit), np.concatenate([at for _, at in attacks]))
                )
            for attack, scores, at in kinds:
                keys = ("logistic", "", layer or "logits", family, attack, None, True)
                p_values = calibration.p_values(scores)
                yield Block(
                    dict(zip(SCORE_KEYS, keys, strict=True)),
                    {"index": at, "score": scores, "p_value": p_values, "above": p_values <= 0.05},
                )

    def _scores(
        self, detector: Detector, seen: Observed, columns: list[int] | None = None
    ) -> NDArray[np.float64]:
        if not len(seen.rows):
            return np.zeros(0)
        rows = seen.rows if columns is None else seen.rows[:, columns]
        return detector.decision_function(rows, predicted=seen.predicted)


def _threshold(guard: Guard) -> float | None:
    """The score beyond which inputs are flagged, where it is one for all classes."""
    if guard.calibration.predicted is not None:
        return None
    known = np.sort(guard.calibration.scores)
    return float(known[-int(guard.false_alarm_rate * (len(known) + 1) + 1e-9)])
