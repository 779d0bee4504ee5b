"""How alike networks are, layer by layer, and which layers correspond."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from advdetect.checks import pick
from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.similarity import MEASURES, ORDERED, Measure
from advdetect.similarity.cca import pwcca
from advdetect.similarity.patterns import PATTERNS, Pattern, PatternSums, patterns_of
from advdetect.similarity.rotation import in_fewer_columns
from advdetect.workflows.progress import Track, untracked
from advdetect.workflows.representing import EVERYTHING, View, layer_outputs


@dataclass(frozen=True)
class Match:
    """A layer, and the layer of the other network that is most like it."""

    layer: str
    found: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two networks, every layer of one against every layer of the other.

    Attributes:
        first: Name of the network whose layers are rows.
        second: Name of the network whose layers are columns.
        measure: Name in ``MEASURES``.
        rows: Layers of the first network, in order.
        columns: Layers of the second.
        similarity: ``(rows, columns)``.
        images: How many inputs were compared.
        batch: How many at a time; results of batches were averaged.
    """

    first: str
    second: str
    measure: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    similarity: NDArray[np.float64]
    images: int
    batch: int

    @property
    def forward(self) -> tuple[Match, ...]:
        """For each layer of the first network the most similar one of the second."""
        return self._matches(self.rows, self.columns, self.similarity)

    @property
    def backward(self) -> tuple[Match, ...]:
        """For each layer of the second network the most similar one of the first."""
        return self._matches(self.columns, self.rows, self.similarity.T)

    @property
    def found(self) -> tuple[int, int] | None:
        """How often a layer finds its namesake, both ways, of how many; None without namesakes."""
        if self.rows != self.columns:
            return None
        matches = [*self.forward, *self.backward]
        return sum(match.layer == match.found for match in matches), len(matches)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        found = self.found
        return {
            "first": self.first,
            "second": self.second,
            "measure": self.measure,
            "images": self.images,
            "batch": self.batch,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "similarity": [[float(value) for value in row] for row in self.similarity],
            "correspondence": {
                "first_to_second": [asdict(match) for match in self.forward],
                "second_to_first": [asdict(match) for match in self.backward],
                "same_layer_found": None if found is None else {"count": found[0], "n": found[1]},
            },
        }

    @staticmethod
    def _matches(
        rows: Sequence[str], columns: Sequence[str], similarity: NDArray[np.float64]
    ) -> tuple[Match, ...]:
        best = similarity.argmax(1)
        return tuple(
            Match(row, columns[j], float(similarity[i, j]))
            for i, (row, j) in enumerate(zip(rows, best.tolist(), strict=True))
        )


def compare_networks(
    networks: Mapping[str, nn.Module],
    images: ImageSet,
    measures: Sequence[str] = ("unbiased_linear_cka",),
    *,
    view: View = EVERYTHING,
    track: Track = untracked,
) -> tuple[Comparison, ...]:
    """Compare every two of the networks on the same inputs, batch by batch.

    Memory holds one batch at a time. Measures made of cosines (``PATTERNS``) read each layer once;
    the others take every pair of layers by itself, and are averaged over both orders where they
    depend on it.

    Args:
        networks: At least two, by name, in evaluation mode.
        images: The inputs.
        measures: Names in ``MEASURES``.
        view: Which layers, and how many inputs at a time. Unbiased measures average their terms
            over batches, others their values.
        track: Shows progress.

    Returns:
        A comparison for each pair and measure, pairs in order.

    Raises:
        InputError: fewer than two networks or 4 images, an unknown measure, an entry of
            ``view.layers`` that fits no layer, or a measure that cannot be taken.
        ModelError: a network without ReLU-family calls, or one that cannot be seen into.
    """
    tables = {name: (pick(MEASURES, name, "measure"), PATTERNS.get(name)) for name in measures}
    return compare_by(networks, images, tables, view=view, track=track)


def compare_by(
    networks: Mapping[str, nn.Module],
    images: ImageSet,
    measures: Mapping[str, tuple[Measure, Pattern | None]],
    *,
    view: View = EVERYTHING,
    track: Track = untracked,
) -> tuple[Comparison, ...]:
    """``compare_networks`` by measures of any names, such as GBS over the full graph.

    Args:
        networks: See there, as for the rest.
        images: The inputs.
        measures: By name a measure and, where it is made of cosines, the pattern it reads.
        view: Which layers, and how many inputs at a time.
        track: Shows progress.
    """
    if len(networks) < 2:
        raise InputError(f"expected at least two networks to compare, got {len(networks)}")
    batch = min(view.batch, len(images))
    if batch < 4:
        raise InputError(f"expected at least 4 images at a time, got {batch}")
    kept = len(images) // batch * batch
    pairs = list(combinations(networks, 2))
    sums = {
        (*pair, name): _Mean(measure, name not in ORDERED)
        if pattern is None
        else PatternSums(pattern)
        for name, (measure, pattern) in measures.items()
        for pair in pairs
    }
    layers: dict[str, tuple[str, ...]] = {}
    for part in track(images.images[:kept].split(batch), "comparing"):
        outputs = {name: layer_outputs(net, part, view)[0] for name, net in networks.items()}
        layers = {name: tuple(seen) for name, seen in outputs.items()}
        view.check(chain.from_iterable(layers.values()))
        for name, (_, pattern) in measures.items():
            read = {own: _read(name, pattern, seen) for own, seen in outputs.items()}
            for a, b in pairs:
                sums[a, b, name].update(read[a], read[b])
    return tuple(
        Comparison(a, b, name, layers[a], layers[b], total.compute().numpy(), kept, batch)
        for (a, b, name), total in sums.items()
    )


def _read(measure: str, pattern: Pattern | None, outputs: Mapping[str, Tensor]) -> Any:
    """What a measure takes of a network's layers: vectors, or features to be paired."""
    if pattern is not None:
        return patterns_of(pattern, list(outputs.values()))
    if measure == pwcca.__name__:  # looks at single units, which a rotation mixes
        return list(outputs.values())
    return [in_fewer_columns(x) for x in outputs.values()]


class _Mean:
    """Mean over batches of a measure of every pair of layers."""

    def __init__(self, measure: Measure, symmetric: bool) -> None:
        self._measure = measure
        self._symmetric = symmetric
        self._total = torch.zeros(1, dtype=torch.float64)
        self._batches = 0

    def update(self, left: Sequence[Tensor], right: Sequence[Tensor]) -> None:
        values = [[self._value(x, y) for y in right] for x in left]
        self._total = self._total + torch.tensor(values, dtype=torch.float64)
        self._batches += 1

    def compute(self) -> Tensor:
        return self._total / self._batches

    def _value(self, x: Tensor, y: Tensor) -> float:
        value = self._measure(x, y).item()
        return value if self._symmetric else (value + self._measure(y, x).item()) / 2
