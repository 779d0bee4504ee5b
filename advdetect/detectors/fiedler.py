"""Detection by the softest cut through a graph of known rows."""

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from advdetect.detectors.base import ADVERSARIAL, CLEAN, Classes, Detector, Rows
from advdetect.detectors.graphs import MainDirections, self_tuned_weights, walk_from
from advdetect.detectors.reference import CleanReference
from advdetect.errors import InputError
from advdetect.similarity.spectral import fiedler_partition

FEWEST = 20  # rows of each kind that a predicted class needs for a graph of its own
EVERY_CLASS = -1


class FiedlerDetector(Detector):
    """Scores a row by its side of the Fiedler cut through its predicted class.

    Fitting rows of a predicted class, clean and adversarial in like numbers, become nodes: in
    the coordinates in which clean rows are standard normal, along the directions in which the
    nodes vary most, joined by self-tuned Gaussian weights. The Fiedler vector cuts their graph
    where it is thinnest; labels choose the nodes and say which side is adversarial, no more. A
    new row takes one step of the walk on the graph and averages the coordinates it may land on.
    In every class 0 is the mean of the clean nodes and 1 that of the adversarial ones. Where the
    roles of columns are known, those counted in a distance are looked at alone.

    A predicted class with fewer than 20 fitting rows of either kind is judged by one graph of
    all classes. The state is at most ``nodes x directions`` numbers a class beside those of
    ``CleanReference``.

    Args:
        nodes: Cap of nodes in a graph; fitting rows are drawn by their weight, seeded.
        directions: Directions that the graph sees.
        neighbors: The neighbour whose distance is a node's unit of distance.
        seed: Chooses the nodes.

    Attributes:
        reference_: What clean rows look like.
        graphs_: The graph of each predicted class; -1 is the one of all classes.

    Raises:
        InputError: ``nodes`` below 4, or ``directions`` or ``neighbors`` below 1.

    Source:
        Shi & Malik 2000, doi:10.1109/34.868688 (the cut); Bengio et al. 2004,
        doi:10.1162/0899766041732396 (new rows); on bit vectors Jamil et al. 2023,
        arXiv:2305.01808.
    """

    def __init__(
        self, nodes: int = 400, directions: int = 20, neighbors: int = 10, seed: int = 0
    ) -> None:
        self.nodes = nodes
        self.directions = directions
        self.neighbors = neighbors
        self.seed = seed

    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None:
        if self.nodes < 4 or self.directions < 1 or self.neighbors < 1:
            raise InputError(
                "expected at least 4 nodes, 1 direction and 1 neighbor, got "
                f"{self.nodes}, {self.directions} and {self.neighbors}"
            )
        counted = None if self.roles_in_ is None else self.roles_in_.counted
        self.reference_ = CleanReference.fit(X[y == CLEAN], predicted[y == CLEAN], counted)
        whitened = self.reference_.whiten(X, predicted)
        generator = np.random.default_rng(self.seed)
        # Weighted draws without replacement are the smallest of exponential waiting times.
        waiting = generator.exponential(size=len(X)) / np.maximum(weight, 1e-300)
        self.graphs_: dict[int, _Graph] = {}
        for c in (EVERY_CLASS, *np.unique(predicted).tolist()):
            members = np.full(len(X), True) if c == EVERY_CLASS else predicted == c
            kinds = [np.flatnonzero(members & (y == kind)) for kind in (CLEAN, ADVERSARIAL)]
            if c != EVERY_CLASS and min(map(len, kinds)) < FEWEST:
                continue
            drawn = [rows[np.argsort(waiting[rows])][: self.nodes // 2] for rows in kinds]
            chosen = np.concatenate(drawn)
            self.graphs_[c] = self._cut(whitened[chosen], y[chosen])

    def _cut(self, whitened: Rows, y: Classes) -> "_Graph":
        seen = MainDirections.of(whitened, self.directions)
        nodes = seen(whitened)
        weights, units = self_tuned_weights(nodes, self.neighbors)
        vector = fiedler_partition(torch.from_numpy(weights), "random-walk").vector.numpy()
        steps = walk_from(nodes, nodes, units, self.neighbors) @ vector
        clean, adversarial = steps[y == CLEAN].mean(), steps[y == ADVERSARIAL].mean()
        # Where the cut is not between the kinds, their small distance must not inflate scores.
        unit = max(abs(adversarial - clean), float(steps.std()) / 2, 1e-12)
        unit = unit if adversarial >= clean else -unit
        return _Graph(
            {
                "centre": seen.centre,
                "basis": seen.basis,
                "nodes": nodes,
                "units": units,
                "coordinates": (vector - clean) / unit,
            }
        )

    def _score(self, X: Rows, predicted: Classes) -> Rows:
        whitened = self.reference_.whiten(X, predicted)
        scores = np.empty(len(X))
        for c in np.unique(predicted).tolist():
            rows = predicted == c
            graph = self.graphs_.get(c, self.graphs_[EVERY_CLASS])
            scores[rows] = graph.step(whitened[rows], self.neighbors)
        return scores

    def _save(self) -> dict[str, NDArray[Any]]:
        reference = {f"reference.{k}": v for k, v in self.reference_.arrays.items()}
        graphs = {
            f"graph.{c}.{name}": array
            for c, graph in self.graphs_.items()
            for name, array in graph.arrays.items()
        }
        return reference | graphs

    def _load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            part, _, own = name.rpartition(".")
            parts.setdefault(part, {})[own] = array
        self.reference_ = CleanReference(parts["reference"])
        self.graphs_ = {
            int(part.removeprefix("graph.")): _Graph(own)
            for part, own in parts.items()
            if part.startswith("graph.")
        }


@final
class _Graph:
    """The nodes of one graph and their coordinates, higher on the adversarial side."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self._seen = MainDirections(arrays["centre"], arrays["basis"])

    def step(self, whitened: Rows, neighbors: int) -> Rows:
        """Mean coordinate after one step of the walk."""
        points = self._seen(whitened)
        chances = walk_from(points, self.arrays["nodes"], self.arrays["units"], neighbors)
        return chances @ self.arrays["coordinates"]
