"""How alike networks are, layer by layer, and which layers correspond."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from advdetect.checks import pick
from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.similarity import MEASURES, ORDERED, UNITWISE
from advdetect.similarity.batches import MeanOverBatches, OverBatches, in_fewer_columns
from advdetect.similarity.cka import MinibatchCKA, unbiased_linear_cka
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
    measures: Sequence[str] = (unbiased_linear_cka.__name__,),
    *,
    view: View = EVERYTHING,
    track: Track = untracked,
) -> tuple[Comparison, ...]:
    """Compare every two of the networks on the same inputs, batch by batch.

    Memory holds one batch: what its layers put out, as many columns as rows where the measures
    allow it. Measures that depend on the order of their arguments are averaged over both.

    Args:
        networks: At least two, by name, in evaluation mode.
        images: The inputs.
        measures: Names in ``MEASURES``.
        view: Which layers, and how many inputs at a time; ``unbiased_linear_cka`` averages its
            terms over batches, other measures their values.
        track: Shows progress.

    Returns:
        A comparison for each pair and measure, pairs in order.

    Raises:
        InputError: fewer than two networks, an unknown measure, an entry of ``view.layers`` that
            fits no layer, or a measure that cannot be taken (too few rows).
        ModelError: a network without ReLU-family calls, or one that cannot be seen into.
    """
    if len(networks) < 2:
        raise InputError(f"expected at least two networks to compare, got {len(networks)}")
    for measure in measures:
        pick(MEASURES, measure, "measure")
    batch = min(view.batch, len(images))
    kept = len(images) // batch * batch
    totals: dict[tuple[str, str, str], dict[tuple[str, str], OverBatches]] = {}
    for part in track(images.images[:kept].split(batch), "comparing"):
        plain, rotated = _outputs(networks, part, measures, view)
        for measure in measures:
            outputs = plain if measure in UNITWISE else rotated
            for (a, left), (b, right) in combinations(outputs.items(), 2):
                cells = totals.setdefault((a, b, measure), {})
                for row, x in left.items():
                    for column, y in right.items():
                        if (row, column) not in cells:
                            cells[row, column] = _over_batches(measure)
                        cells[row, column].update(x, y)
    return tuple(_comparison(key, cells, images=kept, batch=batch) for key, cells in totals.items())


Outputs = dict[str, dict[str, Tensor]]


def _outputs(
    networks: Mapping[str, nn.Module],
    images: Tensor,
    measures: Sequence[str],
    view: View,
) -> tuple[Outputs, Outputs]:
    """Layer outputs by network: as they are, and rotated into fewer columns, as needed."""
    plain: Outputs = {}
    rotated: Outputs = {}
    for name, network in networks.items():
        outputs, _ = layer_outputs(network, images, view)
        if UNITWISE & set(measures):
            plain[name] = outputs
        if set(measures) - UNITWISE:
            rotated[name] = {layer: in_fewer_columns(x) for layer, x in outputs.items()}
    return plain, rotated


def _over_batches(measure: str) -> OverBatches:
    if measure == unbiased_linear_cka.__name__:
        return MinibatchCKA()
    return MeanOverBatches(MEASURES[measure], symmetric=measure not in ORDERED)


def _comparison(
    key: tuple[str, str, str],
    cells: Mapping[tuple[str, str], OverBatches],
    *,
    images: int,
    batch: int,
) -> Comparison:
    rows, columns = (tuple(dict.fromkeys(cell[axis] for cell in cells)) for axis in (0, 1))
    values = torch.stack([cell.compute() for cell in cells.values()])
    similarity = values.reshape(len(rows), len(columns)).numpy()
    return Comparison(*key, rows, columns, similarity, images, batch)
