"""The families of features, by name."""

from collections.abc import Mapping

from advdetect.features.base import Feature
from advdetect.features.bits import BitFeatures
from advdetect.features.deep_neighbors import DeepNeighborFeatures
from advdetect.features.disagreement import DisagreementFeatures
from advdetect.features.graph_edges import GraphFeatures
from advdetect.features.graph_pooled import PooledGraphFeatures
from advdetect.features.intrinsic_dimension import DimensionFeatures
from advdetect.features.logits import LogitFeatures
from advdetect.features.magnitudes import MagnitudeFeatures
from advdetect.features.mahalanobis import MahalanobisFeatures
from advdetect.features.neighbors import NeighborFeatures
from advdetect.features.sensitivity import SensitivityFeatures
from advdetect.features.softmax import EnergyFeatures, MarginFeatures, SoftmaxFeatures
from advdetect.features.spectral import SpectralFeatures
from advdetect.features.squeezing import SqueezingFeatures
from advdetect.features.stability import StabilityFeatures
from advdetect.features.virtual_logit import VirtualLogitFeatures

FEATURES: Mapping[str, type[Feature]] = {
    "bits": BitFeatures,
    "neighbors": NeighborFeatures,
    "graph": GraphFeatures,
    "magnitudes": MagnitudeFeatures,
    "logits": LogitFeatures,
    "disagreement": DisagreementFeatures,
    "stability": StabilityFeatures,
    "sensitivity": SensitivityFeatures,
    "graph_pooled": PooledGraphFeatures,
    "spectral": SpectralFeatures,
    # Of published detectors, for comparison.
    "softmax": SoftmaxFeatures,
    "margin": MarginFeatures,
    "energy": EnergyFeatures,
    "squeezing": SqueezingFeatures,
    "intrinsic_dimension": DimensionFeatures,
    "mahalanobis": MahalanobisFeatures,
    "deep_knn": DeepNeighborFeatures,
    "virtual_logit": VirtualLogitFeatures,
}

# What a guard looks at unless its detector asks for something else.
DEFAULT = ("bits", "neighbors", "graph", "magnitudes", "logits")
# ... and of an ensemble besides.
OF_ENSEMBLES = ("disagreement",)
# ... and where more than one pass may be made.
OF_MORE_PASSES = ("stability",)
# ... and where the model may be asked for a gradient.
OF_GRADIENT = ("sensitivity",)
