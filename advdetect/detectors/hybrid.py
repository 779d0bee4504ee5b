"""The simple classifier, and how unusual a row is: attacks seen, and attacks not seen."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from advdetect.detectors.base import CLEAN, Classes, Detector, Rows
from advdetect.detectors.logistic import LogisticDetector
from advdetect.detectors.reference import TINY, CleanReference, distance, soft_distance


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
        reference_: What clean rows look like; ``None`` where fitted at weight 0.

    Source:
        Our own; its parts are those of the two detectors named.
    """

    # The strength of the penalty is chosen first, at weight 0, where a fit is faster.
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **LogisticDetector.choices,
        "distance_weight": (0.0, 1.0, 2.0, 4.0),
    }
    scoring: ClassVar[tuple[str, ...]] = ("distance_weight",)

    def __init__(self, C: float = 1.0, distance_weight: float = 1.0) -> None:
        self.C = C
        self.distance_weight = distance_weight

    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None:
        self.logistic_ = LogisticDetector(self.C)
        self.logistic_.fit(X, y, predicted=predicted, sample_weight=weight)
        clean = y == CLEAN
        self.reference_ = (
            CleanReference.fit(X[clean], predicted[clean]) if self.distance_weight else None
        )

    def _score(self, X: Rows, predicted: Classes) -> Rows:
        odds = self.logistic_._score(X, predicted)
        if self.reference_ is None:
            return odds
        return odds + self.distance_weight * distance(self.reference_.whiten(X, predicted))

    def _contributions(self, X: Rows, predicted: Classes) -> Rows:
        parts = self.logistic_._contributions(X, predicted)
        if self.reference_ is None:
            return parts
        # A column speaks for an attack where its part of the mean square is above what is usual,
        # 1 / d; scaled so that all of them sum to the mean's logarithm, which is the distance.
        own = self.reference_.parts(X, predicted) / X.shape[1]
        mean = own.sum(1, keepdims=True)
        at_one = np.abs(mean - 1) < 1e-9
        scale = np.where(at_one, 1, np.log(mean + TINY) / np.where(at_one, 1, mean - 1))
        return parts + self.distance_weight * scale * (own - 1 / X.shape[1])

    def _soft_score(self, X: Tensor, predicted: Tensor, spread: Tensor, width: float) -> Tensor:
        odds = self.logistic_._soft_score(X, predicted, spread, width)
        if self.reference_ is None:
            return odds
        unusual = soft_distance(self.reference_.soft_whiten(X, predicted))
        return odds + self.distance_weight * unusual

    def _save(self) -> dict[str, NDArray[Any]]:
        _, logistic = self.logistic_.state()
        reference = {} if self.reference_ is None else self.reference_.arrays
        return {f"logistic.{name}": array for name, array in logistic.items()} | {
            f"reference.{name}": array for name, array in reference.items()
        }

    def _load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

        self.logistic_ = LogisticDetector.from_state({"C": self.C}, part("logistic."))
        reference = part("reference.")
        self.reference_ = CleanReference(reference) if reference else None
