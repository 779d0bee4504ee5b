"""Evaluate a guard: attack its model, judge everything, and say what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advdetect.attacks import AttackResult, AttackRun, attack
from advdetect.attacks.knowing import ADAPTIVE
from advdetect.checks import check_images, check_labels
from advdetect.data import ImageSet
from advdetect.guard import Guard
from advdetect.report.report import Report
from advdetect.runs.records import Block
from advdetect.workflows.attacking_worker import device_of
from advdetect.workflows.evading import evade, in_memory
from advdetect.workflows.inspecting import inspect_model
from advdetect.workflows.judging import Judged, judge
from advdetect.workflows.observing import Observed, observe
from advdetect.workflows.progress import Track, untracked
from advdetect.workflows.reporting import report_of


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A report, and all that its figures and its records are made from."""

    report: Report
    judged: Judged
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
    adaptive: bool | Sequence[str] = False,
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
        adaptive: Attack the guard knowingly as well, with the suite ``adaptive`` or with the
            attacks named; it takes seconds an image.
        model: Name of the model, for the report.
        data: Name of the data, for the report.
        split: Which split the images are, for the report.
        track: Shows progress.

    Raises:
        InputError: images or labels that do not fit the guard, or images that it was made from.
    """
    check_images(images, shape=guard.input_shape)
    guard.check_unseen(images)
    run = attacked or attack(guard.model, images, labels, suite=suite, seed=seed, track=track)
    set_ = ImageSet(data, split, images, labels, torch.arange(len(labels)), ())
    knowing: Sequence[Block] = ()
    if adaptive:
        names = ADAPTIVE if adaptive is True else tuple(adaptive)
        knowing = evade(guard, set_, in_memory(guard, set_, seed, track), attacks=names).blocks
    return evaluate_attacks(guard, set_, run, model=model, knowing=knowing, track=track).report


def evaluate_attacks(
    guard: Guard,
    images: ImageSet,
    run: AttackRun,
    *,
    model: str,
    knowing: Sequence[Block] = (),
    others: Sequence[Block] = (),
    track: Track = untracked,
) -> Evaluation:
    """Judge clean and attacked images, and work out what that says.

    Args:
        guard: The guard.
        images: Clean images.
        run: Attacks on some of them.
        model: Name of the model.
        knowing: Records of attacks that knew the guard.
        others: Scores of other guards on the same images.
        track: Shows progress.

    Raises:
        InputError: images or labels that do not fit the guard.
    """
    check_images(images.images, shape=guard.input_shape)
    check_labels(images.labels, len(images))
    clean = observe(guard, images.images, track, "judging clean images")
    attacked = tuple(
        (result, observe(guard, result.adversarial, track, f"judging {result.budget}"))
        for result in run.results
    )
    judged = judge(guard, images, run, clean, attacked, model=model)
    device = device_of(guard.model)
    checks = inspect_model(guard.model, images.images.to(device), images.labels.to(device))
    judged = replace(
        judged,
        about={**judged.about, "checks": checks},
        records=(*judged.records, *knowing),
        scores=(*judged.scores, *others),
    )
    return Evaluation(report_of(judged), judged, clean, attacked)
