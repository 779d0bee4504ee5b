"""Graph-based similarity (GBS) for a single input: it joins the graph of the landmarks."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect.features.base import (
    CONTRAST,
    Feature,
    Observation,
    block_ends,
    choose_landmarks,
    class_contrast,
)

PER_CLASS = 10
DEGREE = 5
STRIDE = 2  # every second of the chosen units: half of the price, hardly a change


class GraphFeatures(Feature):
    """Edges of a new input to landmarks, by class, and how they agree from layer to layer.

    At the end of every block an edge is the cosine of the layer's outputs (after ReLU, not
    centred, on every second of the chosen units). By class the ``DEGREE`` strongest edges
    count. An input whose neighbours in one layer are not its neighbours in the next, or in the
    last, has been moved on its way: the agreement is the node-wise LSim of the two layers'
    edges, for the top-k graph and for the full one. The state holds the unit-length outputs of
    ``PER_CLASS`` landmarks a class, ``2 x units`` bytes each: at the default cap 400 kB a layer
    for 10 classes.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 4 and 5; that one input joins a fixed graph is
        our own.
    """

    def _fit(self, reference: Observation) -> None:
        rows, self.state["classes"] = choose_landmarks(reference.predicted, self.classes, PER_CLASS)
        for layer in block_ends(self.layers):
            self.state[f"outputs.{layer}"] = _directions(reference.layers[layer][rows])

    def _columns(self) -> list[tuple[str, str]]:
        ends = block_ends(self.layers)
        columns = [(layer, f"edges, {kind}") for layer in ends for kind in CONTRAST]
        for layer, other in _pairs(ends):
            columns.append((layer, f"top-{DEGREE} edges agree with {other}"))
            columns.append((layer, f"all edges agree with {other}"))
        return columns

    def _prepare(self) -> None:
        self._counts = self.state["classes"].bincount(minlength=self.classes).tolist()

    def _rows(self, observation: Observation) -> Tensor:
        edges = {
            layer: _directions(observation.layers[layer]) @ self.state[f"outputs.{layer}"].T
            for layer in block_ends(self.layers)
        }
        top = {layer: _strongest(e) for layer, e in edges.items()}
        blocks = [class_contrast(self._by_class(e), observation) for e in edges.values()]
        for a, b in _pairs(tuple(edges)):
            for graph in (top, edges):
                blocks.append(F.cosine_similarity(graph[a], graph[b], dim=1)[:, None])
        return torch.cat(blocks, dim=1)

    def _by_class(self, edges: Tensor) -> Tensor:
        """Mean of the strongest edges to each class, ``(n, classes)``; an empty one takes all."""
        parts = edges.split(self._counts, dim=1)
        if len(set(self._counts)) == 1:  # one call instead of one a class
            return _mean_of_strongest(torch.stack(parts, dim=1))
        overall = _mean_of_strongest(edges)
        return torch.stack([_mean_of_strongest(p) if p.shape[1] else overall for p in parts], dim=1)


def _mean_of_strongest(edges: Tensor) -> Tensor:
    """Mean of the ``DEGREE`` strongest edges along the last axis."""
    return edges.topk(min(DEGREE, edges.shape[-1]), dim=-1, sorted=False).values.mean(-1)


def _directions(z: Tensor) -> Tensor:
    """Layer outputs at unit length, so that products are cosines."""
    return F.normalize(z[:, ::STRIDE].relu(), dim=1)


def _pairs(layers: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each layer with the next and, where that is another one, with the last."""
    return [*pairwise(layers), *((layer, layers[-1]) for layer in layers[:-2])]


def _strongest(edges: Tensor) -> Tensor:
    """Keep each input's ``DEGREE`` strongest edges, the rest 0."""
    values, index = edges.topk(min(DEGREE, edges.shape[1]), dim=1, sorted=False)
    return torch.zeros_like(edges).scatter(1, index, values)
