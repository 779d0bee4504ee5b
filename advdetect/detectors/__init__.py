"""Which rows are adversarial? One estimator per file, all with the same contract."""

from collections.abc import Mapping

from advdetect.detectors.base import Detector
from advdetect.detectors.clean_only import CleanOnlyDetector
from advdetect.detectors.fiedler import FiedlerDetector
from advdetect.detectors.logistic import LogisticDetector

DETECTORS: Mapping[str, type[Detector]] = {
    "logistic": LogisticDetector,
    "fiedler": FiedlerDetector,
    "clean-only": CleanOnlyDetector,
}

__all__ = ["DETECTORS", "Detector"]
