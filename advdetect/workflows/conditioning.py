"""What one network knows of the labels beyond another."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.similarity.distance_correlation import (
    partial_distance_correlation,
    unbiased_squared_distance_correlation,
)
from advdetect.similarity.rotation import in_fewer_columns
from advdetect.workflows.progress import Track, untracked
from advdetect.workflows.representing import EVERYTHING, View, layer_outputs


@dataclass(frozen=True)
class LayerKnowledge:
    """A layer and the labels, means over batches.

    Attributes:
        layer: Its name.
        labels: Unbiased squared distance correlation of its outputs and the labels.
        labels_beyond: Partial distance correlation of the two, given the other network.
    """

    layer: str
    labels: float
    labels_beyond: float


@dataclass(frozen=True)
class Knowledge:
    """What a network's layers know of the labels, alone and beyond another network.

    Attributes:
        network: Its name.
        given: Name of the other network.
        given_layer: Which of its layers is held against: the last.
        layers: By layer, in order.
        images: How many inputs.
        batch: How many at a time.
    """

    network: str
    given: str
    given_layer: str
    layers: tuple[LayerKnowledge, ...]
    images: int
    batch: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def check_conditions(models: Sequence[str], given: str | None, to: str | None) -> None:
    """Refuse half of a question: ``--given`` and ``--to labels`` go together.

    Raises:
        InputError: one without the other, another target than the labels, or nothing to compare.
    """
    if (given is None) != (to is None):
        raise InputError("--given MODEL and --to labels go together: expected both or neither")
    if to not in (None, "labels"):
        raise InputError(f"--to expects labels, got {to!r}")
    if given is None and len(models) < 2:
        raise InputError("expected at least two models to compare, or --given MODEL --to labels")


def knowledge_beyond(
    network: tuple[str, nn.Module],
    given: tuple[str, nn.Module],
    images: ImageSet,
    *,
    view: View = EVERYTHING,
    track: Track = untracked,
) -> Knowledge:
    """Measure what a network's layers know of the labels that another's last layer does not.

    Labels are one-hot vectors. The last layer of the other network, its features before the
    classifier, is partialled out of both sides.

    Args:
        network: Name and module whose layers are looked at.
        given: Name and module of the other.
        images: Labelled inputs.
        view: Which layers of the first network; whether both are pooled; at least 4 inputs at a
            time, over whose batches the results are averaged.
        track: Shows progress.

    Returns:
        Both correlations by layer, 0 for independence on average; negative values are chance.

    Raises:
        InputError: fewer than 4 images, or an entry of ``view.layers`` that fits no layer.
        ModelError: a network without ReLU-family calls, or one that cannot be seen into.

    Source:
        Zhen et al. 2022, arXiv:2207.09684, section 4 (there GT is a text embedding of the class
        name; partial here as in Szekely and Rizzo, where the authors' code is semi-partial).
    """
    batch = min(view.batch, len(images))
    if batch < 4:
        raise InputError(f"expected at least 4 images to correlate, got {batch}")
    kept = len(images) // batch * batch
    onehot = F.one_hot(images.labels, max(len(images.classes), int(images.labels.max()) + 1))
    sums: dict[str, Tensor] = {}
    reference = ""
    parts = list(zip(images.images[:kept].split(batch), onehot[:kept].split(batch), strict=True))
    for part, labels in track(parts, "correlating"):
        others, _ = layer_outputs(given[1], part, replace(view, layers=None))
        reference, z = list(others.items())[-1]
        z = in_fewer_columns(z)
        outputs, _ = layer_outputs(network[1], part, view)
        view.check(outputs)
        target = labels.to(z)
        for name, wide in outputs.items():
            x = in_fewer_columns(wide)
            alone = unbiased_squared_distance_correlation(x, target)
            beyond = partial_distance_correlation(x, target, z)
            found = torch.stack([alone, beyond]).double().cpu()
            sums[name] = sums.get(name, torch.zeros(2, dtype=torch.float64)) + found
    rows = tuple(
        LayerKnowledge(name, *(total / (kept // batch)).tolist()) for name, total in sums.items()
    )
    return Knowledge(network[0], given[0], reference, rows, kept, batch)
