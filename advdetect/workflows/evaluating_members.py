"""What an ensemble's members share: does an attack on one carry to the others?"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from advdetect.attacks import AttackResult
from advdetect.attacks.freezing import frozen
from advdetect.data import ImageSet
from advdetect.ensembles.featuring import seeing_linear_inputs
from advdetect.ensembles.penalties import PENULTIMATE
from advdetect.networks import Ensemble, LoadedModel
from advdetect.report.rows import AVERAGE, CLEAN, OUTSIDE
from advdetect.runs.records import Block
from advdetect.similarity.cka import unbiased_linear_cka
from advdetect.similarity.distance_correlation import (
    squared_distance_correlation,
    unbiased_squared_distance_correlation,
)
from advdetect.similarity.graphs import graph_similarity
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.progress import Track, untracked
from advdetect.workflows.representing import View, layer_outputs

MEMBER_KEYS = ("source", "target", "attack", "norm", "eps")
MEASURES = {
    "squared_distance_correlation": squared_distance_correlation,
    "unbiased_squared_distance_correlation": unbiased_squared_distance_correlation,
    "unbiased_linear_cka": unbiased_linear_cka,
    "graph_similarity": graph_similarity,
}
BATCH = 500
COMPARED = 500  # images that similarities are computed on, all at once


def evaluate_members(
    ensemble: Ensemble,
    images: ImageSet,
    folder: Path,
    *,
    outside: LoadedModel | None = None,
    seed: int = 0,
    workers: int | None = None,
    ray: str | None = None,
    track: Track = untracked,
) -> tuple[Block, ...]:
    """Craft on every member, on the average and on a network from outside; try it on all.

    Members and the outside network are attacked by the suite ``members``, the average by
    ``ensemble``. What is attacked are the images that the source classifies correctly.

    Args:
        ensemble: The ensemble.
        images: Evaluation images.
        folder: A run for each source is kept in it, and resumed.
        outside: A network of the same pixels and classes that was trained apart.
        seed: Seeds the attacks.
        workers: Processes that attack, see ``attack_data``.
        ray: A Ray cluster's address.
        track: Shows progress.

    Returns:
        A block for each source, target and budget, and one for each target on clean images
        (source and attack ``clean``): which image, and whether the target is right on it.
    """
    networks: dict[str, nn.Module] = {
        f"member-{i}": member for i, member in enumerate(ensemble.members)
    }
    networks[AVERAGE] = ensemble
    if outside is not None:
        networks[OUTSIDE] = outside.module
    blocks = list(_tried(networks, CLEAN, images))
    for source, network in networks.items():
        loaded = LoadedModel(source, network, {}, images.shape)
        _, run = attack_data(
            loaded,
            images,
            folder / source,
            suite="ensemble" if source == AVERAGE else "members",
            seed=seed,
            workers=workers,
            ray=ray,
            command="members",
            track=track,
        )
        for result in run.results:
            blocks += _tried(networks, source, images, result)
    return tuple(blocks)


def member_similarity(ensemble: Ensemble, images: Tensor) -> list[dict[str, object]]:
    """How alike the members represent the first 500 images, by every two of them.

    Compared are the penultimate features and every recorded layer of the same name, channel
    means over space; dCor biased and unbiased, unbiased CKA and GBS.
    """
    images = images[:COMPARED]
    features = [_features(member, images) for member in ensemble.members]
    rows: list[dict[str, object]] = []
    for (i, first), (j, second) in combinations(enumerate(features), 2):
        for layer in [name for name in first if name in second]:
            x, y = first[layer], second[layer]
            values = {name: float(measure(x, y)) for name, measure in MEASURES.items()}
            rows.append(
                {"first": i, "second": j, "layer": layer, "n": len(images), "values": values}
            )
    return rows


def _features(member: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """``(n, p)`` channel means of every layer, and penultimate features, if there are any."""
    with seeing_linear_inputs(member) as into_linear:
        found, _ = layer_outputs(member, images, View(pooled=True))
    if into_linear:
        found[PENULTIMATE] = into_linear[-1].flatten(1).float()
    return found


def _tried(
    networks: Mapping[str, nn.Module],
    source: str,
    images: ImageSet,
    result: AttackResult | None = None,
) -> Iterator[Block]:
    """Whether each network is right on clean images, or on a result's examples."""
    if result is None:
        pixels, labels, index = images.images, images.labels, images.index
        keys: tuple[str, str, float | None] = (CLEAN, "", None)
    else:
        pixels, labels, index = result.adversarial, result.labels, result.index
        keys = (result.attack, result.norm, result.eps)
    for target, network in networks.items():
        right = answers(network, pixels) == labels.cpu().numpy()
        named = dict(zip(MEMBER_KEYS, (source, target, *keys), strict=True))
        yield Block(named, {"index": index.cpu().numpy(), "right": right})


def answers(network: nn.Module, pixels: Tensor) -> NDArray[np.int64]:
    """``(n,)`` classes that a network predicts for ``(n, c, h, w)`` pixels."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    with frozen(network), torch.no_grad():
        parts = [network(batch.to(device)).argmax(1).cpu() for batch in pixels.split(BATCH)]
    return torch.cat(parts).numpy()
