"""Published detectors, fitted and calibrated as the guard is, on the same attacked images."""

from collections.abc import Sequence
from pathlib import Path

from advdetect.attacks import SUITES, AttackRun
from advdetect.data import ImageSet
from advdetect.detectors import BASELINES, DETECTORS
from advdetect.guard import Guard
from advdetect.networks import LoadedModel
from advdetect.runs.records import Block
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.fitting import fit_guard
from advdetect.workflows.judging import score_blocks
from advdetect.workflows.observing import observe
from advdetect.workflows.progress import Track

FITTED_ON = 300  # reference images attacked, for those that learn from attacks
KNOWING = ("linf_selective_pgd", "linf_joint_pgd")  # the two that find most


def baseline_guards(
    guard: Guard,
    model: LoadedModel,
    reference: ImageSet,
    calibration: ImageSet,
    folder: Path,
    *,
    names: Sequence[str] = BASELINES,
    attacked: Path | None = None,
    seed: int = 0,
    workers: int | None = None,
    ray: str | None = None,
    track: Track,
) -> dict[str, Guard]:
    """Fit a guard of each published detector, in folders of its own; those there are taken up.

    Args:
        guard: What they are compared with: its suite and its false-alarm rate are theirs.
        model: The classifier.
        reference: Clean images to fit on.
        calibration: Clean images for the p-values.
        folder: Where the guards go.
        names: Names in ``BASELINES``.
        attacked: A run on reference images; ``None`` attacks the first 300 as the guard's were.
        seed: Seeds the attacks.
        workers: Processes that attack.
        ray: A Ray cluster that attacks instead.
        track: Shows progress.
    """
    suite = str(guard.about.get("suite"))
    if attacked is None and not all(DETECTORS[name].clean_only for name in names):
        attacked = folder / "attacked"
        some = reference.subset(range(min(FITTED_ON, len(reference) // 2)))
        attack_data(
            model,
            some,
            attacked,
            suite=suite if suite in SUITES else "quick",
            seed=seed,
            workers=workers,
            ray=ray,
            track=track,
        )
    guards: dict[str, Guard] = {}
    for name in names:
        if not (folder / name / "guard.json").is_file():
            fit_guard(
                model,
                reference,
                calibration,
                folder / name,
                attacked=None if DETECTORS[name].clean_only else attacked,
                detector=name,
                false_alarm_rate=guard.false_alarm_rate,
                per_class=guard.calibration.predicted is not None,
                seed=seed,
                track=track,
            )
        guards[name] = Guard.load(folder / name, model=guard.model)
    return guards


def judge_baselines(
    guards: dict[str, Guard], images: ImageSet, run: AttackRun, track: Track
) -> list[Block]:
    """Scores of each published detector on the rows that a report counts."""
    blocks: list[Block] = []
    for name, guard in guards.items():
        clean = observe(guard, images.images, track, f"judging by {name}")
        attacked = tuple(
            (
                result,
                observe(guard, result.adversarial, track, f"judging {result.budget} by {name}"),
            )
            for result in run.results
        )
        blocks += score_blocks(guard, images, clean, attacked)
    return blocks
