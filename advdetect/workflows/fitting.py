"""Fit a guard on reference images and calibrate it on others."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from advdetect import storage
from advdetect.attacks import AttackRun, attack
from advdetect.checks import pick
from advdetect.data import ImageSet
from advdetect.detectors import DETECTORS
from advdetect.detectors.conformal import check_enough
from advdetect.errors import FileError, InputError, ModelError
from advdetect.features.extractor import UNITS
from advdetect.guard import Guard
from advdetect.guard.guard import check_own_features
from advdetect.networks import LoadedModel
from advdetect.runs import RunFolder
from advdetect.workflows.attacking import check_fit, read_attacks
from advdetect.workflows.progress import Track, untracked

ATTACKED = 600


@dataclass(frozen=True)
class FitSummary:
    """What a guard was fitted on."""

    model: str
    data: str
    detector: str
    false_alarm_rate: float
    reference: int
    fitting: int
    calibration: int
    attacks: tuple[str, ...]
    features: int
    folder: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def fit_guard(
    model: LoadedModel,
    reference: ImageSet,
    calibration: ImageSet,
    folder: Path,
    *,
    attacked: Path | None = None,
    suite: str = "quick",
    detector: str | None = None,
    false_alarm_rate: float = 0.05,
    per_class: bool = False,
    choose: bool = True,
    passes: int = 1,
    gradient: bool = False,
    units: int = UNITS,
    seed: int = 0,
    track: Track = untracked,
) -> tuple[Guard, FitSummary]:
    """Fit, calibrate and save a guard.

    Args:
        model: The model to guard.
        reference: Clean images to fit on.
        calibration: Clean images for the p-values.
        folder: Where the guard goes.
        attacked: A run on reference images; ``None`` attacks some of them with ``suite``,
            unless the detector is fitted on clean images alone.
        suite: What to attack with where no run is given.
        detector: Name in ``DETECTORS``.
        false_alarm_rate: Share of clean inputs that may be flagged.
        per_class: Calibrate each predicted class by itself.
        choose: Choose what the detector leaves open by cross-validation over attacks.
        passes: Forward passes of an input, 1 to 4.
        gradient: A pass back besides, and one more where a look removes detail: how the decision
            answers to the picture's detail.
        units: Cap of units per layer; a guard's size and price fall with it.
        seed: Chooses units, and seeds the attacks.
        track: Shows progress.

    Raises:
        InputError: the run was made on images that may not be fitted on, or a wrong name, or
            images that do not fit the model, or more passes or the gradient for a detector with
            features of its own.
        ModelError: the run attacked another model.
        FileError: the folder is a file.
    """
    # Before the attacks, which take long.
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file: --out expects a folder")
    check_enough(len(calibration), false_alarm_rate)
    check_fit(model, reference)
    if detector is not None:
        pick(DETECTORS, detector, "detector")
        check_own_features(detector, passes, gradient)
    if attacked is not None:
        run = attacks_for_fitting(attacked, model, reference)
    elif detector is not None and DETECTORS[detector].clean_only:
        run = None
    else:
        some = reference.subset(range(min(ATTACKED, len(reference) // 2)))
        run = attack(model.module, some.images, some.labels, suite=suite, seed=seed, track=track)
    guard = Guard.fit(
        model.module,
        reference.images,
        run,
        calibration_images=calibration.images,
        false_alarm_rate=false_alarm_rate,
        detector=detector,
        per_class=per_class,
        choose=choose,
        passes=passes,
        gradient=gradient,
        units=units,
        seed=seed,
        track=track,
    )
    guard.architecture = model.architecture
    guard.about |= {
        "model": model.name,
        "data": reference.name,
        "classes": list(reference.classes),
        "suite": None if run is None else run.suite,
    }
    guard.save(folder)
    counts = guard.about["images"]
    summary = FitSummary(
        model.name,
        reference.name,
        guard.detector_name,
        false_alarm_rate,
        counts["reference"],
        counts["fitting"],
        counts["calibration"],
        guard.fitting.budgets,
        len(guard.extractor.columns),
        str(folder),
    )
    return guard, summary


def attacks_for_fitting(folder: Path, model: LoadedModel, reference: ImageSet) -> AttackRun:
    """Read a run that a guard may be fitted on.

    Raises:
        InputError: the run was made on evaluation or calibration images, or on other data.
        ModelError: the run attacked another model.
    """
    run = RunFolder.open(folder)
    about = run.configuration
    if about["split"] != "reference":
        raise InputError(
            f"{folder} was made on {about['split']} images: a guard is fitted on reference "
            "images alone, attack those with --split reference"
        )
    if about["data"] != reference.name:
        raise InputError(f"{folder} was made on {about['data']}, not on {reference.name}")
    if about["weights"] != storage.fingerprint(model.module.state_dict()):
        raise ModelError(f"{folder} attacked another model than {model.name}")
    return read_attacks(run)
