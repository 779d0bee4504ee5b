"""How unusual a row is for its predicted class; no attack is needed to fit it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from advdetect.detectors.base import Classes, Detector, Rows
from advdetect.detectors.clean_distance import CleanDistance


class CleanOnlyDetector(Detector):
    """Mahalanobis distance to the clean rows of the predicted class, after a normal map.

    The score is a ``CleanDistance``, the log of the mean squared coordinate where clean rows are
    standard normal: about 0 for a usual row, 1 where deviations are 1.6 times as large.
    It finds what is unusual, whatever made it so: noise that harms nobody is flagged as well,
    and an attacker who knows it can stay usual. Columns are mapped over all classes together, so
    that a value unusual for a narrow class alone weighs less than it might. Weights of rows are
    not used. At least some dozens of clean rows a class, better 100, are needed.

    Attributes:
        distance_: The distance from clean rows.

    Source:
        Lee et al. 2018, arXiv:1807.03888 (class-conditional Mahalanobis distance); there one
        covariance serves all classes, and columns are not mapped.
    """

    clean_only: ClassVar[bool] = True

    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None:
        self.distance_ = CleanDistance.fit(X, predicted, self.roles_in_)

    def _score(self, X: Rows, predicted: Classes) -> Rows:
        return self.distance_.score(X, predicted)

    def _explained(self, X: Rows, predicted: Classes) -> tuple[Rows, Rows]:
        return self.distance_.explained(X, predicted)

    def _soft_score(self, X: Tensor, predicted: Tensor, spread: Tensor, width: float) -> Tensor:
        return self.distance_.soft_score(X, predicted)

    def _save(self) -> dict[str, NDArray[Any]]:
        return self.distance_.arrays

    def _load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.distance_ = CleanDistance(arrays)
