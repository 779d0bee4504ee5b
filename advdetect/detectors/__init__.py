"""Which rows are adversarial? One estimator per file, all with the same contract."""

from collections.abc import Mapping

from advdetect.detectors.base import Detector
from advdetect.detectors.clean_only import CleanOnlyDetector
from advdetect.detectors.fiedler import FiedlerDetector
from advdetect.detectors.hybrid import HybridDetector
from advdetect.detectors.layerwise import DimensionDetector, MahalanobisDetector
from advdetect.detectors.logistic import LogisticDetector
from advdetect.detectors.tally import (
    DeepNeighborDetector,
    EnergyDetector,
    MarginDetector,
    MaximumSoftmaxDetector,
    SqueezingDetector,
    VirtualLogitDetector,
)

DETECTORS: Mapping[str, type[Detector]] = {
    "logistic": LogisticDetector,
    "hybrid": HybridDetector,
    "fiedler": FiedlerDetector,
    "clean-only": CleanOnlyDetector,
    "softmax": MaximumSoftmaxDetector,
    "margin": MarginDetector,
    "energy": EnergyDetector,
    "squeezing": SqueezingDetector,
    "lid": DimensionDetector,
    "mahalanobis": MahalanobisDetector,
    "deep-knn": DeepNeighborDetector,
    "vim": VirtualLogitDetector,
}
BASELINES = tuple(name for name, kind in DETECTORS.items() if kind.families is not None)

__all__ = ["BASELINES", "DETECTORS", "Detector"]
