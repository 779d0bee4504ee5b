"""What the Fiedler cut finds without labels: two classes, or clean against attacked."""

from collections.abc import Sequence
from functools import cache, partial
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from advdetect.attacks import AttackResult
from advdetect.data import ImageSet
from advdetect.detectors.reference import CleanReference
from advdetect.detectors.transductive import cut_against
from advdetect.errors import InputError
from advdetect.features import record
from advdetect.guard import Guard
from advdetect.metrics import mean
from advdetect.report.report import ClassCutRow
from advdetect.runs.records import Block
from advdetect.similarity.bits import BitCodes, hamming_similarity
from advdetect.similarity.spectral import fiedler_partition
from advdetect.workflows.observing import Observed

PER_CLASS = 100
FEWEST = 20  # inputs of each kind in a predicted class that is cut


def class_partition(
    model: nn.Module, images: ImageSet, *, per_class: int = PER_CLASS
) -> tuple[ClassCutRow, ...]:
    """Cut every pair of classes in two by one layer's bits, layer by layer.

    The graph's weights are Hamming similarities of all the layer's bits, its Laplacian is the
    symmetric one; no label is used but to count.

    Args:
        model: The network.
        images: Labelled images; the first ``per_class`` of each class are taken.
        per_class: Images of each class.

    Returns:
        By layer, the mean accuracy over pairs of classes.

    Raises:
        InputError: fewer than two classes have so many images.

    Source:
        Jamil et al. 2023, arXiv:2305.01808 (above 95 % at the last ReLU layer; its data and
        network are not known to us).
    """
    labels = images.labels.numpy()
    classes = [c for c in np.unique(labels) if (labels == c).sum() >= per_class]
    if len(classes) < 2:
        raise InputError(
            f"expected {per_class} images of at least two classes, got {np.bincount(labels)}"
        )
    chosen = {c: np.flatnonzero(labels == c)[:per_class] for c in classes}
    codes: dict[str, list[BitCodes]] = {}
    for c in classes:
        with torch.no_grad(), record(model) as recording:
            model(images.images[chosen[c]])
        for layer, bits in recording.bits.items():
            codes.setdefault(layer, []).append(bits)
    found: list[ClassCutRow] = []
    for layer, parts in codes.items():
        similarity = hamming_similarity(BitCodes.cat(parts), BitCodes.cat(parts))
        accuracies = []
        for a, b in combinations(range(len(classes)), 2):
            rows = torch.cat([torch.arange(per_class) + per_class * i for i in (a, b)])
            side = fiedler_partition(similarity[rows][:, rows]).side.numpy()
            accuracies.append(cut_accuracy(side, np.repeat([False, True], per_class)))
        found.append(ClassCutRow(layer, mean(accuracies)))
    return tuple(found)


def cut_attacks(
    guard: Guard,
    clean: Observed,
    attacked: Sequence[tuple[AttackResult, Observed]],
    *,
    per_class: int = PER_CLASS,
    seed: int = 0,
) -> tuple[Block, ...]:
    """Cut clean and attacked inputs of each predicted class apart, as many of each.

    Args:
        guard: Its clean fitting rows say what is usual.
        clean: Clean evaluation inputs.
        attacked: Attacks and what was observed under them; controls are left out.
        per_class: At most so many inputs of each kind in a class.
        seed: Draws the inputs.

    Returns:
        A block for each attack and predicted class with enough inputs of each kind: which of its
        inputs are adversarial, and on which side of the cut they fall.
    """
    known = (guard.fitting.origin == 0).numpy()
    usual = guard.fitting.rows.double().numpy()[known], guard.fitting.predicted.numpy()[known]
    reference = cache(partial(CleanReference.fit, *usual))  # once, if any class has enough
    found: list[Block] = []
    for result, seen in attacked:
        if result.control:
            continue
        generator = np.random.default_rng(seed)
        counted = result.counted.cpu().numpy()
        hit = seen[counted]
        for c in np.unique(hit.predicted).tolist():
            kinds = [np.flatnonzero(kind.predicted == c) for kind in (clean, hit)]
            n = min(per_class, *map(len, kinds))
            if n < FEWEST:
                continue
            a, b = (generator.permutation(rows)[:n] for rows in kinds)
            rows = np.concatenate([clean.rows[a], hit.rows[b]])
            cut = cut_against(reference(), rows, np.full(2 * n, c))
            found.append(
                Block(
                    {"attack": result.attack, "eps": result.eps, "predicted": c},
                    {"adversarial": np.repeat([False, True], n), "side": cut.side},
                )
            )
    return tuple(found)


def cut_accuracy(side: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Share of a two-way cut that agrees with the truth, whichever side is which."""
    agree = float((side == truth).mean())
    return max(agree, 1 - agree)
