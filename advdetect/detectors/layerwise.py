"""Published detectors that weigh one number a layer by logistic regression."""

from typing import ClassVar

from advdetect.detectors.logistic import LogisticDetector


class MahalanobisDetector(LogisticDetector):
    """Distances to the nearest class by layer, weighed by attacks seen (Lee et al. 2018)."""

    families: ClassVar[tuple[str, ...] | None] = ("mahalanobis",)


class DimensionDetector(LogisticDetector):
    """Local intrinsic dimensions by layer, weighed by attacks seen (LID, Ma et al. 2018)."""

    families: ClassVar[tuple[str, ...] | None] = ("intrinsic_dimension",)
