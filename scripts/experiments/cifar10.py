"""Detection on CIFAR-10 (JPEG), where rivals' figures stand: every detector, every attack."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from advdetect.attacks import AttackRun
from advdetect.data import ImageSet
from advdetect.guard import Guard
from advdetect.networks import LoadedModel, load_model
from advdetect.runs import RunFolder
from advdetect.runs.records import Block, read_records, write_records
from advdetect.workflows.attacking import attack_data, read_attacks
from advdetect.workflows.evaluating_run import Fitting, evaluate_into
from advdetect.workflows.fitting import fit_guard
from advdetect.workflows.judging import SCORE_KEYS, score_blocks
from advdetect.workflows.keeping import kept
from advdetect.workflows.observing import observe
from advdetect.workflows.reporting import report_of
from experiments.cifar import test_splits
from experiments.cifar10_features import features
from experiments.cifar10_tables import (
    GUARDS,
    MAIN,
    SEEDS,
    SUITE,
    SURE,
    print_as_others_count,
    print_attacks,
    print_clean,
    print_controls,
    print_detectors,
    print_each_attack,
    print_seeds,
    print_thresholds,
)
from experiments.printing import console, track

MODEL = "cifar10-resnet"
FITTING = f"{SUITE}-fitting-full"
FITTED = 500  # reference pictures attacked
ATTACKED = 300  # evaluation pictures attacked; all are judged clean
WORKERS = 2


def cifar10(out: Path, data_root: Path | None) -> None:
    """Guards of one, two and four passes, with the gradient and without, and every baseline."""
    torch.set_num_threads(1)  # a core for each worker
    splits = test_splits(data_root)
    model = load_model(MODEL)
    attacked = out / "attacked"
    guards = {
        f"{kind}, seed {seed}": guard_in(
            out / "guards" / f"{kind.replace(' ', '-')}-seed-{seed}",
            model,
            splits,
            attacked,
            suite=FITTING,
            passes=passes,
            gradient=gradient,
            seed=seed,
        )
        for kind, (passes, gradient) in GUARDS.items()
        for seed in (SEEDS if kind == MAIN else SEEDS[:1])
    }
    main = f"{MAIN}, seed 0"
    evaluate_into(
        guards[main],
        splits["evaluation"],
        out / "evaluation",
        name=MODEL,
        suite=SUITE,
        limit=ATTACKED,
        baselines=Fitting(splits["reference"], splits["calibration"], attacked),
        workers=WORKERS,
        track=track,
    )
    run = read_attacks(RunFolder.open(out / "evaluation"))
    evaluated, _, _ = kept(out / "evaluation")
    # Of the other guards no table shows more than their scores. They go with the evaluation.
    others = out / "evaluation" / "others"
    judged = {main: evaluated} | {
        name: replace(
            evaluated,
            scores=scores_of(guard, splits["evaluation"], run, others / f"{name}.parquet"),
        )
        for name, guard in guards.items()
        if name != main
    }
    reports = {name: report_of(every) for name, every in judged.items()}
    print_clean(reports[main])
    unsure = uncertain(guards[main], splits["evaluation"].images[:ATTACKED])
    print_attacks(reports[main], run, unsure, out)
    print_detectors(reports, out)
    print_each_attack(reports, out)
    print_as_others_count(judged, out)
    print_controls(reports, out)
    print_seeds(reports, out)
    print_thresholds(judged[main], guards[main], out)
    with alone():
        features(model, splits["reference"], out)
    console.print(f"report: {out / 'evaluation' / 'report.html'}")


def guard_in(
    folder: Path,
    model: LoadedModel,
    splits: Mapping[str, ImageSet],
    attacked: Path,
    *,
    suite: str = f"{SUITE}-fitting",
    passes: int = 2,
    gradient: bool = False,
    seed: int = 0,
) -> Guard:
    """A hybrid guard fitted on attacked reference pictures; what is there is taken up."""
    if not (folder / "guard.json").is_file():
        some = splits["reference"].subset(range(FITTED))
        attack_data(model, some, attacked, suite=suite, workers=WORKERS, track=track)
        with alone():
            fit_guard(
                model,
                splits["reference"],
                splits["calibration"],
                folder,
                attacked=attacked,
                detector="hybrid",
                per_class=True,
                passes=passes,
                gradient=gradient,
                seed=seed,
                track=track,
            )
    return Guard.load(folder, model=model.module)


@contextmanager
def alone() -> Iterator[None]:
    """Use every core: no workers are at it meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(WORKERS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def scores_of(guard: Guard, images: ImageSet, run: AttackRun, file: Path) -> tuple[Block, ...]:
    """What another guard says of the same attacks, and what it says without having seen any.

    Kept in a file; what is there is taken up.
    """
    if not file.is_file():
        with alone():
            clean = observe(guard, images.images, track, "clean images")
            attacked = [
                (r, observe(guard, r.adversarial, track, str(r.budget))) for r in run.results
            ]
            write_records(file, list(score_blocks(guard, images, clean, attacked, "clean-only")))
    return tuple(read_records(file, SCORE_KEYS))


def uncertain(guard: Guard, images: Tensor) -> Tensor:
    """Which pictures ``(n, c, h, w)`` the network is less than ``SURE`` of, ``(n,)``."""
    return torch.cat([guard(batch).confidence < SURE for batch in images.split(100)])
