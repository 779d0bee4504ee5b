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
            self.state[f"outputs.{layer}"] = directions(self._outputs(reference, layer)[rows])

    def _outputs(self, observation: Observation, layer: str) -> Tensor:
        """What an input is compared by, ``(n, units)``; the sign of what is off is free."""
        return observation.thinned[layer]

    def _columns(self) -> list[tuple[str, str]]:
        ends = block_ends(self.layers)
        columns = [(layer, f"edges, {kind}") for layer in ends for kind in CONTRAST]
        for layer, other in _pairs(ends):
            columns.append((layer, f"top-{DEGREE} edges agree with {other}"))
            columns.append((layer, f"all edges agree with {other}"))
        return columns

    def _prepare(self) -> None:
        classes = self.state["classes"]
        self._counts = classes.bincount(minlength=self.classes)
        # Landmarks stand grouped by class: (classes, slots) their rows, any row where none is.
        slots = torch.arange(int(self._counts.max()), device=classes.device)
        self._used = slots < self._counts[:, None]
        starts = (self._counts.cumsum(0) - self._counts)[:, None]
        self._slots = torch.where(self._used, starts + slots, 0)
        self._full = bool(self._used.all())
        ends = block_ends(self.layers)
        places = [[ends.index(end) for end in pair] for pair in _pairs(ends)]
        self._pairs = (
            torch.tensor(places, dtype=torch.int64, device=classes.device).reshape(-1, 2).unbind(1)
        )

    def _rows(self, observation: Observation) -> Tensor:
        edges = self._edges(observation)
        flat = edges.flatten(2)
        strongest = flat.topk(min(DEGREE, flat.shape[2]), dim=2, sorted=False)
        top = torch.zeros_like(flat).scatter(2, strongest.indices, strongest.values)
        similarity = self._by_class(edges, strongest.values, observation.candidates)
        agreement = torch.stack([self._agreement(graph) for graph in (top, flat)], dim=2)
        return torch.cat([class_contrast(similarity).flatten(1), agreement.flatten(1)], dim=1)

    def _edges(self, observation: Observation) -> Tensor:
        """Edges to the candidates' landmarks ``(n, layers, k, slots)``, 0 where there is none."""
        classes, places = observation.searched
        slots = self._slots if classes is None else self._slots[classes]
        width = slots.shape[1]
        # (n, k x slots): where each candidate's landmarks are among those searched.
        chosen = (places[..., None] * width + torch.arange(width, device=places.device)).flatten(1)
        parts: list[Tensor] = []
        for layer in block_ends(self.layers):
            landmarks = self.state[f"outputs.{layer}"]
            if classes is not None or not self._full:
                landmarks = landmarks[slots.flatten()]
            outputs = directions(self._outputs(observation, layer))
            parts.append((outputs @ landmarks.T).gather(1, chosen))
        edges = torch.stack(parts, dim=1).unflatten(2, (-1, width))
        if self._full:
            return edges
        return edges * self._used[observation.candidates][:, None]

    def _by_class(self, edges: Tensor, strongest: Tensor, candidates: Tensor) -> Tensor:
        """Mean of the strongest edges to each candidate, ``(n, layers, k)``.

        No edge is negative, so that one that is not there adds nothing. A class without
        landmarks takes the mean of the strongest of all.
        """
        count = self._counts[candidates][:, None]
        degree = min(DEGREE, edges.shape[3])
        total = edges.topk(degree, dim=3, sorted=False).values.sum(3)
        overall = strongest.sum(2, keepdim=True) / count.sum(2, keepdim=True).clamp(1, DEGREE)
        return torch.where(count > 0, total / count.clamp(1, DEGREE), overall)

    def _agreement(self, graph: Tensor) -> Tensor:
        """Node-wise LSim of pairs of layers, ``(n, pairs)``: cosine of an input's edges."""
        directions = F.normalize(graph, dim=2)
        return (directions @ directions.mT)[:, self._pairs[0], self._pairs[1]]


def directions(z: Tensor) -> Tensor:
    """Layer outputs at unit length, so that products are cosines."""
    return F.normalize(z.relu(), dim=1)


def _pairs(layers: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each layer with the next and, where that is another one, with the last."""
    return [*pairwise(layers), *((layer, layers[-1]) for layer in layers[:-2])]
