"""The simple classifier, and how unusual a row is: attacks seen, and attacks not seen."""

from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from advdetect.detectors.base import CLEAN, Classes, Detector, Rows
from advdetect.detectors.clean_distance import CleanDistance
from advdetect.detectors.logistic import LogisticDetector


class HybridDetector(Detector):
    """Log-odds of the simple classifier, plus a distance to the clean rows of the class.

    The classifier finds what looks like the attacks it was fitted on; an attack of another kind
    may pass it and still be unusual, which the distance of ``CleanOnlyDetector`` sees. The score
    is ``log-odds + distance_weight * distance``; at weight 0 it is that of ``LogisticDetector``.

    Args:
        C: Inverse strength of the classifier's L2 penalty.
        distance_weight: Of the distance, which is a logarithm: at 1, deviations twice as large
            make the odds four times as high.

    Attributes:
        logistic_: The classifier.
        distance_: The distance from clean rows; ``None`` where fitted at weight 0.

    Source:
        Our own; its parts are those of the two detectors named.
    """

    # The strength of the penalty is chosen first, at weight 0, where a fit is faster.
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **LogisticDetector.choices,
        "distance_weight": (0.0, 1.0, 2.0, 4.0, 8.0),
    }
    scoring: ClassVar[tuple[str, ...]] = ("distance_weight",)

    def __init__(self, C: float = 1.0, distance_weight: float = 1.0) -> None:
        self.C = C
        self.distance_weight = distance_weight

    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None:
        self.logistic_ = LogisticDetector(self.C)
        self.logistic_.fit(X, y, predicted=predicted, sample_weight=weight)
        clean = y == CLEAN
        self.distance_ = None
        if self.distance_weight:
            self.distance_ = CleanDistance.fit(X[clean], predicted[clean], self.roles_in_)

    def _score(self, X: Rows, predicted: Classes) -> Rows:
        odds = self.logistic_._score(X, predicted)
        if self.distance_ is None:
            return odds
        return odds + self.distance_weight * self.distance_.score(X, predicted)

    def _explained(self, X: Rows, predicted: Classes) -> tuple[Rows, Rows]:
        odds, parts = self.logistic_._explained(X, predicted)
        if self.distance_ is None:
            return odds, parts
        distance, distance_parts = self.distance_.explained(X, predicted)
        weight = self.distance_weight
        return odds + weight * distance, parts + weight * distance_parts

    def _soft_score(self, X: Tensor, predicted: Tensor, spread: Tensor, width: float) -> Tensor:
        odds = self.logistic_._soft_score(X, predicted, spread, width)
        if self.distance_ is None:
            return odds
        return odds + self.distance_weight * self.distance_.soft_score(X, predicted)

    def _save(self) -> dict[str, NDArray[Any]]:
        _, logistic = self.logistic_.state()
        # Of a reference, as in the files of older versions.
        distance = {} if self.distance_ is None else self.distance_.arrays
        return {f"logistic.{name}": array for name, array in logistic.items()} | {
            f"reference.{name}": array for name, array in distance.items()
        }

    def _load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

        self.logistic_ = LogisticDetector.from_state({"C": self.C}, part("logistic."))
        distance = part("reference.")
        self.distance_ = CleanDistance(distance) if distance else None
