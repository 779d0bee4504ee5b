"""A guard: one forward pass, one score, a calibrated verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from advdetect import storage
from advdetect.attacks import ATTACKS, AttackRun
from advdetect.attacks.running import fingerprints
from advdetect.checks import check_images, pick
from advdetect.detectors import DETECTORS, Detector
from advdetect.detectors.conformal import ConformalCalibration
from advdetect.errors import FileError, InputError, ModelError
from advdetect.features import FeatureExtractor
from advdetect.features.base import Observation
from advdetect.features.extractor import BATCH, UNITS, Track, untracked
from advdetect.networks import build
from advdetect.networks.loading import set_weights

SCHEMA = 1
HELD_BACK = 0.3


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What a guard says of ``n`` inputs; tensors of length ``n`` on the images' device.

    Attributes:
        label: The model's class.
        confidence: The model's probability of that class, in (0, 1].
        score: The detector's number, higher is more adversarial.
        p_value: Share of held-out clean inputs that score at least as high, in (0, 1].
        flagged: Whether ``p_value`` is at most the guard's false-alarm rate.
        evidence: By layer (``logits`` for none), what it adds to the score of a detector that
            can say so; empty for others.
    """

    label: Tensor
    confidence: Tensor
    score: Tensor
    p_value: Tensor
    flagged: Tensor
    evidence: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, eq=False)
class FittingRows:
    """The feature rows that a guard's detector was fitted on.

    Attributes:
        rows: ``(n, d)`` features.
        predicted: ``(n,)`` predicted classes.
        origin: ``(n,)`` 0 for clean, else 1 + position in ``budgets``.
        budgets: The attacks and budgets, as text.
    """

    rows: Tensor
    predicted: Tensor
    origin: Tensor
    budgets: tuple[str, ...] = ()

    def fit(self, detector: Detector, *, without: Sequence[str] = ()) -> Detector:
        """Fit a detector, leaving out some budgets.

        Half of a row's weight shares out evenly over budgets, half over families of attacks:
        there are many PGD budgets, and few attacks that seek the smallest perturbation.
        """
        left_out = [1 + i for i, budget in enumerate(self.budgets) if budget in without]
        keep = ~torch.isin(self.origin, torch.tensor(left_out, dtype=self.origin.dtype))
        origin = self.origin[keep].cpu().numpy()
        weight = self._budget_weights(origin)[origin]
        return detector.fit(
            self.rows[keep].cpu().numpy(),
            (origin > 0).astype(np.int64),
            predicted=self.predicted[keep].cpu().numpy(),
            sample_weight=weight * len(weight) / weight.sum(),
        )


    def _budget_weights(self, origin: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Weight of one row by its origin; clean rows weigh 1 together, so do all attacked."""
        counts = np.bincount(origin, minlength=1 + len(self.budgets))
        present = [i for i in range(len(self.budgets)) if counts[1 + i]]
        families = [ATTACKS[self.budgets[i].split()[0]].family for i in present]
        weights = np.zeros(len(counts))
        weights[0] = 1 / max(counts[0], 1)
        for i, family in zip(present, families, strict=True):
            by_budget = 1 / len(present)
            by_family = 1 / len(set(families)) / families.count(family)
            weights[1 + i] = (by_budget + by_family) / 2 / counts[1 + i]
        return weights


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
    fitting: FittingRows
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
        units: int = UNITS,
        seed: int = 0,
        track: Track = untracked,
    ) -> Self:
        """Fit and calibrate a guard.

        A source image serves one purpose only. Calibration images are held apart from all else.
        The rest is cut in two: images that were attacked give the detector its clean and
        adversarial rows, the others (or a half, if all were attacked) show the features what
        clean inputs look like. Failed attacks and noise controls are never fitted on.

        Args:
            model: Classifier of pixels in [0, 1].
            clean_images: ``(n, c, h, w)`` clean pixels in [0, 1], on the model's device.
            attacked: Attacks on some of these images; ``None`` for clean-only detectors.
            calibration_images: Clean images for the p-values; ``None`` holds back 30 % of
                ``clean_images``, and what was made from them.
            false_alarm_rate: Share of clean inputs that may be flagged.
            detector: Name in ``DETECTORS``; ``logistic``, or ``clean-only`` without attacks.
            per_class: Calibrate each predicted class by itself.
            units: Cap of units per layer; see ``FeatureExtractor.fit``.
            seed: Chooses the units and the held-back images.
            track: Wraps the batches to show progress.

        Raises:
            InputError: images outside [0, 1], too few of them for the false-alarm rate, or a
                detector that needs attacks that were not given.
            ModelError: a model that cannot be seen into.
        """
        check_images(clean_images)
        name = detector or ("clean-only" if attacked is None else "logistic")
        chosen = pick(DETECTORS, name, "detector")()
        if attacked is None and not chosen.clean_only:
            raise InputError(f"the detector {name} learns from attacks: give attacked=attack(...)")
        source = fingerprints(clean_images)
        calibrating = torch.zeros(len(source), dtype=torch.bool)
        if calibration_images is None:
            calibrating = _share_of_sources(source, HELD_BACK, seed)
            calibration_images = clean_images[calibrating]
        check_images(calibration_images, shape=_shape(clean_images))
        reserved = fingerprints(calibration_images)
        kept = ~torch.isin(source, reserved)
        fitting = kept & _fitting_part(source, kept, attacked, seed)
        reference = kept & ~fitting
        if min(int(fitting.sum()), int(reference.sum())) < 2:
            raise InputError(
                f"{len(source)} clean images are too few to fit a guard: "
                "after holding back those for calibration fewer than 4 are left"
            )

        model.eval()
        extractor = FeatureExtractor.fit(
            model, clean_images[reference], units=units, seed=seed, track=track
        )
        clean = _rows(model, extractor, clean_images[fitting], track, "clean rows")
        parts, predicted, origin, budgets = [clean[0]], [clean[1]], [0], []
        for result in () if attacked is None else attacked.results:
            usable = result.counted.cpu() & ~torch.isin(
                result.source.cpu(), torch.cat([reserved, source[reference]])
            )
            if result.control or not usable.any():
                continue
            rows = _rows(model, extractor, result.adversarial[usable], track, str(result.budget))
            parts.append(rows[0])
            predicted.append(rows[1])
            budgets.append(str(result.budget))
            origin.append(len(budgets))
        if not budgets and not chosen.clean_only:
            raise InputError(
                "no attack of the run succeeded on an image kept for fitting: "
                "attack more images, or with a larger eps"
            )
        kinds = torch.cat([torch.full((len(p),), o) for p, o in zip(parts, origin, strict=True)])
        fitted = FittingRows(torch.cat(parts), torch.cat(predicted), kinds, tuple(budgets))
        fitted.fit(chosen)
        rows, classes = _rows(model, extractor, calibration_images, track, "calibration")
        scores = chosen.decision_function(rows.cpu().numpy(), predicted=classes.cpu().numpy())
        calibration = ConformalCalibration(scores, classes.cpu().numpy() if per_class else None)
        calibration.check_enough(false_alarm_rate)
        about = {
            "seed": seed,
            "images": {
                "reference": int(reference.sum()),
                "fitting": int(fitting.sum()),
                "calibration": len(calibration_images),
            },
        }
        return cls(
            model,
            extractor,
            name,
            chosen,
            calibration,
            false_alarm_rate,
            _shape(clean_images),
            fitted,
            about,
        )

    def __call__(self, images: Tensor) -> Verdicts:
        """Judge ``(n, c, h, w)`` pixels in [0, 1]; each verdict depends on its own input alone.

        Raises:
            InputError: another shape than the guard was fitted on, or values outside [0, 1].
        """
        check_images(images, shape=self.input_shape)
        return self.judge(self.extractor.observe(self.model, images))

    def judge(self, observation: Observation) -> Verdicts:
        """Judge inputs by what ``extractor.observe`` kept of their forward pass."""
        rows = self.extractor.rows(observation)
        numbers = rows.detach().cpu().numpy().astype(np.float64)
        predicted = observation.predicted.cpu().numpy()
        scores = self.detector.decision_function(numbers, predicted=predicted)
        p_values = self.calibration.p_values(scores, predicted)
        device = rows.device
        return Verdicts(
            observation.predicted,
            observation.logits.softmax(1).amax(1),
            torch.from_numpy(scores).to(device),
            torch.from_numpy(p_values).to(device),
            torch.from_numpy(p_values <= self.false_alarm_rate).to(device),
            self._evidence(numbers, device),
        )

    def soft_score(self, images: Tensor, *, sharpness: float = 4.0) -> Tensor:
        """Return a differentiable stand-in for the score, ``(n,)``, for attacks that know it.

        Bits become sigmoids; higher ``sharpness`` is nearer to the truth and flatter. Verdicts
        never come from it.

        Raises:
            InputError: the detector has no differentiable score.
        """
        score = getattr(self.detector, "soft_score", None)
        if score is None:
            raise InputError(f"the detector {self.detector_name} has no differentiable score")
        observation = self.extractor.observe(self.model, images, sharpness=sharpness)
        return score(self.extractor.rows(observation), observation.predicted)

    def save(self, folder: Path | str) -> None:
        """Write the guard, its model's weights included, as safetensors and JSON."""
        folder = Path(folder)
        parameters, arrays = self.detector.state()
        detector = {key: torch.from_numpy(np.ascontiguousarray(v)) for key, v in arrays.items()}
        calibration = {"scores": torch.from_numpy(self.calibration.scores)}
        if self.calibration.predicted is not None:
            calibration["predicted"] = torch.from_numpy(self.calibration.predicted)
        fitting = {
            "rows": self.fitting.rows.float(),
            "predicted": self.fitting.predicted,
            "origin": self.fitting.origin,
        }
        weights = self.model.state_dict()
        files = {
            "model.safetensors": weights,
            "features.safetensors": self.extractor.tensors(),
            "detector.safetensors": detector,
            "calibration.safetensors": calibration,
            "fitting.safetensors": fitting,
        }
        sha256 = {name: storage.save_tensors(folder / name, t) for name, t in files.items()}
        storage.write_json(
            folder / "guard.json",
            {
                "schema": SCHEMA,
                "architecture": self.architecture,
                "model": storage.fingerprint(weights),
                "input_shape": list(self.input_shape),
                "false_alarm_rate": self.false_alarm_rate,
                "detector": {"name": self.detector_name, "parameters": parameters},
                "features": self.extractor.config(),
                "budgets": list(self.fitting.budgets),
                "about": self.about,
                "sha256": sha256,
            },
        )

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
        folder = Path(folder)
        if not (folder / "guard.json").is_file():
            raise FileError(f"no guard in {folder}: expected a folder with guard.json")
        about = storage.read_json(folder / "guard.json", schema=SCHEMA)
        try:
            return cls._from_files(folder, about, model)
        except (KeyError, TypeError) as error:
            raise FileError(f"{folder / 'guard.json'} is incomplete: {error}") from None

    @classmethod
    def _from_files(cls, folder: Path, about: Mapping[str, Any], model: nn.Module | None) -> Self:
        def read(name: str) -> dict[str, Tensor]:
            return storage.load_tensors(folder / name, sha256=about["sha256"][name])

        if model is None:
            if about["architecture"] is None:
                raise ModelError(f"{folder} does not know how to build its model: pass model=...")
            model = build(about["architecture"])
            set_weights(model, read("model.safetensors"), str(folder))
        elif storage.fingerprint(model.state_dict()) != about["model"]:
            raise ModelError(
                f"{folder} was fitted on another model: the weights differ from its own"
            )
        model.eval()
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        detector = pick(DETECTORS, about["detector"]["name"], "detector").from_state(
            about["detector"]["parameters"],
            {key: value.numpy() for key, value in read("detector.safetensors").items()},
        )
        calibration, fitting = read("calibration.safetensors"), read("fitting.safetensors")
        predicted = calibration.get("predicted")
        channels, height, width = about["input_shape"]
        extractor = FeatureExtractor.load(about["features"], read("features.safetensors"))
        return cls(
            model,
            extractor.to(device),
            about["detector"]["name"],
            detector,
            ConformalCalibration(
                calibration["scores"].numpy(), None if predicted is None else predicted.numpy()
            ),
            about["false_alarm_rate"],
            (channels, height, width),
            FittingRows(**fitting, budgets=tuple(about["budgets"])),
            about["about"],
            about["architecture"],
        )

    def _evidence(self, rows: np.ndarray[Any, Any], device: torch.device) -> dict[str, Tensor]:
        contributions = getattr(self.detector, "contributions", None)
        if contributions is None:
            return {}
        parts = torch.from_numpy(contributions(rows)).to(device)
        layers = [column.layer or "logits" for column in self.extractor.columns]
        return {
            layer: parts[:, [i for i, other in enumerate(layers) if other == layer]].sum(1)
            for layer in dict.fromkeys(layers)
        }


def _shape(images: Tensor) -> tuple[int, int, int]:
    channels, height, width = images.shape[1:]
    return channels, height, width


def _share_of_sources(source: Tensor, share: float, seed: int) -> Tensor:
    """Choose a share of the distinct source images; equal pictures stay together."""
    distinct = source.unique()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(distinct), generator=generator)
    return torch.isin(source, distinct[order[: max(1, round(share * len(distinct)))]])


def _fitting_part(source: Tensor, kept: Tensor, attacked: AttackRun | None, seed: int) -> Tensor:
    """Which images give the detector its rows: those attacked, if enough others are left."""
    half = _share_of_sources(source, 0.5, seed + 1)
    if attacked is None:
        return half
    hit = torch.isin(source, torch.cat([r.source.cpu() for r in attacked.results]))
    if (kept & ~hit).sum() >= 0.3 * kept.sum():
        return hit
    return half


def _rows(
    model: nn.Module, extractor: FeatureExtractor, images: Tensor, track: Track, text: str
) -> tuple[Tensor, Tensor]:
    """Feature rows and predicted classes of many images."""
    parts = [extractor.observe(model, batch) for batch in track(images.split(BATCH), text)]
    rows = torch.cat([extractor.rows(observation) for observation in parts])
    return rows, torch.cat([observation.predicted for observation in parts])
