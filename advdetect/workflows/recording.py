"""Rows of ``records.parquet``: what happened to every example under every attack."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.attacks import AttackResult
from advdetect.attacks.balls import perturbation_size
from advdetect.attacks.base import Norm
from advdetect.attacks.knowing import Effort, KnowingResult
from advdetect.attacks.running import fingerprints
from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.runs.records import Block
from advdetect.workflows.observing import Observed

CLEAN, ATTACK, CONTROL, KNOWING, CHECK = "clean", "attack", "control", "knowing", "check"
# By what a check of an attack's convergence does more of.
EFFORTS = {"steps x 2": Effort(steps=2), "restarts x 2": Effort(restarts=2)}
KEYS = ("kind", "detector", "attack", "norm", "eps")


def clean_block(detector: str, images: ImageSet, seen: Observed) -> Block:
    """Clean images, as the guard judged them."""
    n = len(images)
    label = images.labels.numpy()
    return _block(
        (CLEAN, detector, "clean", "", None),
        index=images.index.numpy(),
        label=label,
        clean_prediction=seen.predicted,
        prediction=seen.predicted,
        success=seen.predicted != label,
        linf=np.zeros(n),
        l2=np.zeros(n),
        forwards=np.ones(n, np.int64),
        backwards=np.zeros(n, np.int64),
        **_judged(seen),
    )


def attack_block(
    result: AttackResult, clean: Tensor, detector: str = "", seen: Observed | None = None
) -> Block:
    """One attack with one budget; ``clean`` are its ``(n, c, h, w)`` images before."""
    kind = CONTROL if result.control else ATTACK
    judged = {} if seen is None else _judged(seen)
    return _block(
        (kind, detector, result.attack, result.norm, result.eps),
        index=result.index.numpy(),
        label=result.labels.numpy(),
        clean_prediction=result.clean_prediction.numpy(),
        prediction=result.prediction.numpy(),
        success=result.success.numpy(),
        **_sizes(result.adversarial - clean),
        forwards=result.forwards.numpy(),
        backwards=result.backwards.numpy(),
        **judged,
    )


def knowing_blocks(
    result: KnowingResult,
    clean: Tensor,
    detector: str,
    false_alarm_rate: float,
    effort: str = "",
) -> list[Block]:
    """Put down an attack that knows ``detector``, a block a budget; a check names its effort."""
    kind, name = (CHECK, f"{result.attack}, {effort}") if effort else (KNOWING, result.attack)
    labels, first = result.labels.numpy(), result.clean_prediction.numpy()
    return [
        _block(
            (kind, detector, name, result.norm, eps),
            index=result.index.numpy(),
            label=labels,
            clean_prediction=first,
            prediction=result.prediction[:, k].numpy(),
            success=result.prediction[:, k].numpy() != labels,
            **_sizes(result.adversarial[:, k] - clean),
            forwards=result.forwards[:, k].numpy(),
            backwards=result.backwards[:, k].numpy(),
            score=result.score[:, k].numpy(),
            p_value=result.p_value[:, k].numpy(),
            flagged=result.p_value[:, k].numpy() <= false_alarm_rate,
        )
        for k, eps in enumerate(result.budgets)
    ]


def twins(source: Tensor, images: ImageSet) -> Tensor:
    """Clean images ``(n, c, h, w)`` by their fingerprints ``(n,)``.

    Raises:
        InputError: not all of them are among ``images``.
    """
    place = {key: row for row, key in enumerate(fingerprints(images.images).tolist())}
    missing = sum(key not in place for key in source.tolist())
    if missing:
        raise InputError(
            f"the attacks were made on other images: {missing} of {len(source)} are not among "
            f"those of {images.name}"
        )
    return images.images[torch.tensor([place[key] for key in source.tolist()], dtype=torch.int64)]


def distance(block: Block) -> NDArray[np.float64]:
    """``(n,)`` size of the perturbation in the attack's own norm."""
    norm: Norm = "linf" if block.keys["norm"] == "linf" else "l2"
    return np.asarray(block[norm], np.float64)


def right(block: Block) -> NDArray[np.bool_]:
    """``(n,)`` whether the clean image was classified correctly."""
    return np.asarray(block["clean_prediction"] == block["label"])


def of_kind(blocks: Sequence[Block], *kinds: str) -> list[Block]:
    """Blocks of some kinds, in order."""
    return [block for block in blocks if block.keys["kind"] in kinds]


def _block(keys: tuple[str, str, str, str, float | None], **columns: NDArray[Any]) -> Block:
    return Block(dict(zip(KEYS, keys, strict=True)), columns)


def _judged(seen: Observed) -> dict[str, NDArray[Any]]:
    return {"score": seen.score, "p_value": seen.p_value, "flagged": seen.flagged}


def _sizes(difference: Tensor) -> dict[str, NDArray[Any]]:
    return {norm: perturbation_size(difference, norm).numpy() for norm in ("linf", "l2")}
