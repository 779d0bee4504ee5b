"""A guard: one forward pass, one score, a calibrated verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from advdetect.attacks import AttackRun
from advdetect.attacks.running import fingerprints
from advdetect.checks import check_images, pick
from advdetect.detectors import DETECTORS, Detector
from advdetect.detectors.conformal import ConformalCalibration, check_enough
from advdetect.errors import InputError, ModelError
from advdetect.features import FeatureExtractor
from advdetect.features.base import Observation
from advdetect.features.extractor import UNITS, Track, untracked
from advdetect.guard.parts import feature_rows, fitting_rows, part_images
from advdetect.guard.rows import KeptRows

DUPLICATES = 0.01  # pictures that a data set may hold more than once


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What a guard says of ``n`` inputs; tensors of length ``n`` on the images' device.

    Attributes:
        label: The model's class.
        confidence: The model's probability of that class, in (0, 1].
        score: The detector's number, higher is more adversarial.
        p_value: Share of held-out clean inputs that score at least as high, in (0, 1].
        flagged: Whether ``p_value`` is at most the guard's false-alarm rate.
        evidence: By layer (``logits`` for none, the gradient included), what it adds to the
            score of a detector that can say so; empty for others.
    """

    label: Tensor
    confidence: Tensor
    score: Tensor
    p_value: Tensor
    flagged: Tensor
    evidence: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.label)


def check_own_features(name: str, passes: int, gradient: bool) -> None:
    """Check that a detector with features of its own is asked for no others.

    Raises:
        InputError: it is asked for more passes, or for the gradient.
    """
    if DETECTORS[name].families is None:
        return
    if passes > 1:
        raise InputError(f"the detector {name} reads features of its own: passes stay 1")
    if gradient:
        raise InputError(f"the detector {name} reads features of its own: leave gradient out")


@final
@dataclass(eq=False)
class Guard:
    """A classifier, a detector on its layers, and the calibration of that detector.

    Make one with ``Guard.fit`` or ``Guard.load``.

    Attributes:
        model: The classifier, in evaluation mode.
        extractor: From images to feature rows.
        detector: From feature rows to scores.
        calibration: From scores to p-values.
        false_alarm_rate: Share of clean inputs that may be flagged.
        input_shape: ``(channels, height, width)`` of the images it was fitted on.
        fitting: The rows that the detector was fitted on.
        held_out: The clean rows that calibrate it.
        seen: ``(m,)`` fingerprints of the images that it was fitted and calibrated on.
        about: How it came to be; kept in its file.
        architecture: How to build the model again, if a name says so.
    """

    model: nn.Module
    extractor: FeatureExtractor
    detector_name: str
    detector: Detector
    calibration: ConformalCalibration
    false_alarm_rate: float
    input_shape: tuple[int, int, int]
    fitting: KeptRows
    held_out: KeptRows
    seen: Tensor
    about: dict[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] | None = None

    @classmethod
    def fit(
        cls,
        model: nn.Module,
        clean_images: Tensor,
        attacked: AttackRun | None = None,
        *,
        calibration_images: Tensor | None = None,
        false_alarm_rate: float = 0.05,
        detector: str | None = None,
        per_class: bool = False,
        choose: bool = True,
        passes: int = 1,
        gradient: bool = False,
        units: int = UNITS,
        seed: int = 0,
        track: Track = untracked,
    ) -> Self:
        """Fit and calibrate a guard.

        A source image serves one purpose only. Calibration images are held apart from all else.
        Of the rest up to 40 %, not attacked if enough are not, show the features what clean
        inputs look like; the others give the detector its clean rows, and their attacked twins
        its adversarial rows. Failed attacks and noise controls are never fitted on.

        Args:
            model: Classifier of pixels in [0, 1].
            clean_images: ``(n, c, h, w)`` clean pixels in [0, 1], on the model's device.
            attacked: Attacks on some of these images; ``None`` for clean-only detectors.
            calibration_images: Clean images for the p-values; ``None`` holds back 30 % of
                ``clean_images``, and what was made from them.
            false_alarm_rate: Share of clean inputs that may be flagged.
            detector: Name in ``DETECTORS``; ``logistic``, or ``clean-only`` without attacks.
            per_class: Calibrate each predicted class by itself.
            choose: Choose what the detector leaves open, such as the strength of
                regularisation, by how it does on families of attacks left out of its fit.
            passes: Forward passes of an input, 1 to 4: the picture is looked at again, mirrored,
                denoised or smoothed, which finds more; each pass costs as much as the first.
            gradient: Ask the model how its decision answers to each picture's own detail, which
                finds more still, for about the price of a pass, and of another for each pass that
                smooths or denoises; the model must be differentiable.
            units: Cap of units per layer; see ``FeatureExtractor.fit``.
            seed: Chooses the units and the held-back images.
            track: Wraps the batches to show progress.

        Raises:
            InputError: images outside [0, 1], too few of them for the false-alarm rate, or a
                detector that needs attacks that were not given, or one with features of its own
                that is asked for more passes or the gradient.
            ModelError: a model that cannot be seen into, or that passes no gradient back where
                that is asked for.
        """
        check_images(clean_images)
        name = detector or ("clean-only" if attacked is None else "logistic")
        chosen = pick(DETECTORS, name, "detector")()
        if attacked is None and not chosen.clean_only:
            raise InputError(f"the detector {name} learns from attacks: give attacked=attack(...)")
        check_own_features(name, passes, gradient)
        parts = part_images(clean_images, attacked, calibration_images, seed)
        check_enough(len(parts.calibration), false_alarm_rate)
        model.eval()
        extractor = FeatureExtractor.fit(
            model,
            clean_images[parts.reference],
            families=chosen.families,
            passes=passes,
            gradient=gradient,
            units=units,
            seed=seed,
            track=track,
        )
        fitting = fitting_rows(
            model, extractor, clean_images[parts.fitting], attacked, parts.reserved, track
        )
        if not fitting.budgets and not chosen.clean_only:
            raise InputError(
                "no attack of the run succeeded on an image kept for fitting: "
                "attack more images, or with a larger eps"
            )
        fitting = fitting if choose else replace(fitting, source=None)
        fitting.fit(chosen)
        rows, classes = feature_rows(model, extractor, parts.calibration, track, "calibration")
        held_out = KeptRows(rows, classes, torch.zeros(len(rows), dtype=torch.int64))
        calibration = ConformalCalibration(
            held_out.scores(chosen), classes.cpu().numpy() if per_class else None
        )
        calibration.check_enough(false_alarm_rate)
        channels, height, width = clean_images.shape[1:]
        counts = {
            "reference": int(parts.reference.sum()),
            "fitting": int(parts.fitting.sum()),
            "calibration": len(parts.calibration),
        }
        return cls(
            model,
            extractor,
            name,
            chosen,
            calibration,
            false_alarm_rate,
            (channels, height, width),
            fitting,
            held_out,
            fingerprints(torch.cat([clean_images, parts.calibration])).unique(),
            {"seed": seed, "images": counts},
        )

    def check_unseen(self, images: Tensor) -> None:
        """Refuse to be judged by images ``(n, c, h, w)`` that this guard was made from.

        Raises:
            InputError: more than 1 % of them served to fit or calibrate it.
        """
        known = int(torch.isin(fingerprints(images), self.seen).sum())
        if known > DUPLICATES * len(images):
            raise InputError(
                f"{known} of {len(images)} images served to fit or calibrate this guard, and would "
                "flatter it: give images that it has not seen, such as the evaluation split of "
                f"the data it was fitted on ({self.about.get('data', 'not named')})"
            )

    def __call__(self, images: Tensor) -> Verdicts:
        """Judge ``(n, c, h, w)`` pixels in [0, 1]; each verdict depends on its own input alone.

        Raises:
            InputError: another shape than the guard was fitted on, or values outside [0, 1].
            ModelError: the model is in training mode, or its logits are not finite.
        """
        if self.model.training:
            raise ModelError(
                "the guard's model is in training mode, where a verdict would depend on the other "
                "inputs: call model.eval()"
            )
        check_images(images, shape=self.input_shape)
        return self.judge(self.extractor.observe(self.model, images))

    def judge(self, observation: Observation) -> Verdicts:
        """Judge inputs by what ``extractor.observe`` kept of their forward pass."""
        rows = self.extractor.rows(observation)
        numbers = rows.detach().cpu().numpy().astype(np.float64)
        predicted = observation.predicted.cpu().numpy()
        scores, contributions = self.detector.explained(numbers, predicted=predicted)
        p_values = self.calibration.p_values(scores, predicted)
        device = rows.device
        return Verdicts(
            observation.predicted,
            observation.logits.softmax(1).amax(1),
            torch.from_numpy(scores).to(device),
            torch.from_numpy(p_values).to(device),
            torch.from_numpy(p_values <= self.false_alarm_rate).to(device),
            self._evidence(contributions, device),
        )

    def soft_score(self, images: Tensor, *, sharpness: float = 4.0) -> Tensor:
        """Return a differentiable stand-in for the score, ``(n,)``, for attacks that know it.

        Bits become sigmoids, where the guard asks for the gradient so do the slopes of the model's
        ReLUs (its outputs stay), and a detector without gradients is smoothed; higher ``sharpness``
        is nearer to the truth and flatter. Verdicts never come from it.
        """
        observation = self.extractor.observe(self.model, images, sharpness=sharpness)
        rows = self.extractor.rows(observation)
        return self.soft_score_of(rows, observation.predicted, sharpness)

    def soft_score_of(self, rows: Tensor, predicted: Tensor, sharpness: float) -> Tensor:
        """The stand-in for the score of feature rows ``(n, d)``; see ``soft_score``."""
        return self.detector.soft_score(rows, predicted, self.spread, width=1 / sharpness)

    @cached_property
    def spread(self) -> Tensor:
        """``(d,)`` standard deviation of each feature among clean inputs, never 0."""
        rows = self.held_out.rows
        return rows.std(0).clamp(min=1e-6)

    def save(self, folder: Path | str) -> None:
        """Write the guard, its model's weights included, as safetensors and JSON."""
        from advdetect.guard.files import write_guard

        write_guard(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str, *, model: nn.Module | None = None) -> Self:
        """Read a guard.

        Args:
            folder: What ``save`` wrote.
            model: The guard's model, where it cannot be built from a name; its weights must be
                those that the guard was fitted on.

        Raises:
            FileError: a file is missing, changed, or of a newer schema.
            ModelError: the model has other weights, or none was given and none can be built.
        """
        from advdetect.guard.files import read_guard

        return cls(**read_guard(Path(folder), model))

    def _evidence(
        self, contributions: NDArray[np.float64] | None, device: torch.device
    ) -> dict[str, Tensor]:
        """What each layer adds to the scores."""
        if contributions is None:
            return {}
        layers, members = self._columns_by_layer
        parts = torch.from_numpy(contributions @ members).to(device)
        return dict(zip(layers, parts.unbind(1), strict=True))

    @cached_property
    def _columns_by_layer(self) -> tuple[list[str], NDArray[np.float64]]:
        """Names of the layers, and ``(d, layers)`` 1 where a feature is a layer's own."""
        owners = [column.layer or "logits" for column in self.extractor.columns]
        layers = list(dict.fromkeys(owners))
        return layers, np.equal.outer(owners, layers).astype(np.float64)
