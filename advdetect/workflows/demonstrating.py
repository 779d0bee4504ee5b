"""The whole story on the embedded data: attack, fit, evaluate, report."""

from dataclasses import dataclass
from pathlib import Path

from advdetect import data
from advdetect.networks import load_model
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.evaluating_run import EvaluatedRun, evaluate_into
from advdetect.workflows.fitting import fit_guard
from advdetect.workflows.progress import Tell, Track, untracked

MODEL, DATA = "fashion-resnet", "fashion-mnist"
ATTACKED = 500
EVALUATED = 300


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration made."""

    evaluated: EvaluatedRun
    folder: Path
    guard: Path


def demonstrate(
    folder: Path, *, seed: int = 0, tell: Tell = print, track: Track = untracked
) -> Demonstration:
    """Attack the shipped classifier, fit a guard from nothing, and evaluate it.

    Args:
        folder: Where attacks, guard and report go; an interrupted demonstration goes on there.
        seed: Seed of all that is random.
        tell: Told what is going on, a line at a time.
        track: Shows progress.

    Raises:
        FileError: the folder holds something else.
    """
    model = load_model(MODEL)
    reference, calibration, evaluation = (
        data.load(DATA, split=split) for split in ("reference", "calibration", "evaluation")
    )
    tell(f"1/3 attacking {MODEL} on {ATTACKED} reference images")
    some = reference.subset(range(ATTACKED))
    attack_data(model, some, folder / "attacked", suite="quick", seed=seed, track=track)
    tell(f"2/3 fitting a guard: layers to bits and graphs of {len(reference)} clean images")
    guard, summary = fit_guard(
        model,
        reference,
        calibration,
        folder / "guard",
        attacked=folder / "attacked",
        seed=seed,
        track=track,
    )
    tell(f"    {summary.features} features, calibrated on {summary.calibration} other images")
    tell(f"3/3 attacking {EVALUATED} evaluation images and judging all {len(evaluation)}")
    evaluated = evaluate_into(
        guard,
        evaluation,
        folder / "evaluation",
        name=str(folder / "guard"),
        suite="quick",
        seed=seed,
        limit=EVALUATED,
        track=track,
    )
    return Demonstration(evaluated, folder, folder / "guard")
