"""The landmarks that a guard keeps: an input's nearest in each layer, and its place among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from advdetect.errors import InputError
from advdetect.features.base import Observation, block_ends
from advdetect.guard import Guard
from advdetect.similarity.bits import BitCodes, hamming_neighbors, hamming_similarity
from advdetect.similarity.embedding import Embedding, spectral_embedding

DRAWN = 300
NEAREST = 5
LAYERS = 4  # more than these say little more, and a page is read by people


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Clean inputs that a guard compares with, as bit codes by layer.

    Attributes:
        layers: Where inputs are compared, in order.
        codes: By layer, a code per landmark.
        classes: ``(n,)`` the class that the model gave each.
        drawn: ``(m,)`` rows of those in the embedding, as many of each class.
        embedding: Of their Hamming similarities in the last layer; ``None`` where they are too
            few, or all alike.
    """

    layers: tuple[str, ...]
    codes: Mapping[str, BitCodes]
    classes: Tensor
    drawn: Tensor
    embedding: Embedding | None

    @classmethod
    def of(cls, guard: Guard) -> Self | None:
        """Take them from a guard; ``None`` from one that keeps none."""
        feature = guard.extractor.features.get("neighbors")
        if feature is None or len(feature.state["classes"]) < NEAREST:
            return None
        layers = block_ends(tuple(guard.extractor.units))
        units = guard.extractor.units
        codes = {
            layer: BitCodes(feature.state[f"codes.{layer}"], len(units[layer])) for layer in layers
        }
        classes = feature.state["classes"]
        drawn = _evenly(classes)
        return cls(layers, codes, classes, drawn, _embed(codes[layers[-1]][drawn]))

    @property
    def shown(self) -> tuple[str, ...]:
        """At most ``LAYERS`` layers, the first and the last among them."""
        if len(self.layers) <= LAYERS:
            return self.layers
        last = len(self.layers) - 1
        return tuple(self.layers[round(i * last / (LAYERS - 1))] for i in range(LAYERS))

    def nearest(self, observation: Observation) -> dict[str, list[tuple[int, float]]]:
        """Rows and similarities of the landmarks nearest to one input, by layer shown."""
        found = {}
        for layer in self.shown:
            query = BitCodes.pack(observation.on[layer])
            similarity, rows = hamming_neighbors(query, self.codes[layer], NEAREST)
            found[layer] = list(zip(rows[0].tolist(), similarity[0].tolist(), strict=True))
        return found

    def place(self, observation: Observation) -> tuple[float, float] | None:
        """Where one input lies among the landmarks drawn, if it can be said."""
        if self.embedding is None:
            return None
        query = BitCodes.pack(observation.on[self.layers[-1]])
        weights = hamming_similarity(query, self.codes[self.layers[-1]][self.drawn])
        try:
            x, y = self.embedding.place(weights)[0].tolist()
        except InputError:
            return None
        return x, y


def _evenly(classes: Tensor) -> Tensor:
    """Rows of the first landmarks of every class, ``DRAWN`` in all at most."""
    present = classes.unique()[:DRAWN]
    each = DRAWN // len(present)
    return torch.cat([(classes == c).nonzero().squeeze(1)[:each] for c in present])


def _embed(codes: BitCodes) -> Embedding | None:
    try:
        return spectral_embedding(hamming_similarity(codes, codes))
    except InputError:
        return None
