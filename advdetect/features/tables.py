"""The families of features, by name."""

from collections.abc import Mapping

from advdetect.features.base import Feature
from advdetect.features.bits import BitFeatures
from advdetect.features.graph_edges import GraphFeatures
from advdetect.features.logits import LogitFeatures
from advdetect.features.magnitudes import MagnitudeFeatures
from advdetect.features.neighbors import NeighborFeatures

FEATURES: Mapping[str, type[Feature]] = {
    "bits": BitFeatures,
    "neighbors": NeighborFeatures,
    "graph": GraphFeatures,
    "magnitudes": MagnitudeFeatures,
    "logits": LogitFeatures,
}
