"""The simple classifier, and how unusual a row is: attacks seen, and attacks not seen."""

from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from advdetect.detectors.base import CLEAN, Classes, Detector, Rows
from advdetect.detectors.logistic import LogisticDetector
from advdetect.detectors.reference import CleanReference, distance, soft_distance


class HybridDetector(Detector):
    """Log-odds of the simple classifier, plus a distance to the clean rows of the class.

    The classifier finds what looks like the attacks it was fitted on; an attack of another kind
    may pass it and still be unusual, which the distance of ``CleanOnlyDetector`` sees. The score
    is ``log-odds + weight * distance``; at weight 0 it is that of ``LogisticDetector``.

    Args:
        C: Inverse strength of the classifier's L2 penalty.
        weight: Of the distance, which is a logarithm: at 1, deviations twice as large make the
            odds four times as high.

    Attributes:
        logistic_: The classifier.
        reference_: What clean rows look like; ``None`` at weight 0.

    Source:
        Our own; its parts are those of the two detectors named.
    """

    # The strength of the penalty is chosen first, at weight 0, where a fit takes half the time.
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **LogisticDetector.choices,
        "weight": (0.0, 1.0, 2.0, 4.0),
    }

    def __init__(self, C: float = 1.0, weight: float = 1.0) -> None:
        self.C = C
        self.weight = weight

    def contributions(self, X: Rows, predicted: Classes) -> Rows:
        """Part of the score that each feature gives, ``(n, d)``.

        The distance is shared out as the columns share its square.
        """
        parts = self.logistic_.contributions(X, predicted)
        if self.reference_ is None:
            return parts
        unusual = self.weight * distance(self.reference_.whiten(X, predicted))
        return parts + unusual[:, None] * self.reference_.shares(X, predicted)

    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None:
        self.logistic_ = LogisticDetector(self.C)
        self.logistic_.fit(X, y, predicted=predicted, sample_weight=weight)
        clean = y == CLEAN
        self.reference_ = CleanReference.fit(X[clean], predicted[clean]) if self.weight else None

    def _score(self, X: Rows, predicted: Classes) -> Rows:
        odds = self.logistic_.decision_function(X, predicted=predicted)
        if self.reference_ is None:
            return odds
        return odds + self.weight * distance(self.reference_.whiten(X, predicted))

    def _soft_score(self, X: Tensor, predicted: Tensor, spread: Tensor, width: float) -> Tensor:
        odds = self.logistic_.soft_score(X, predicted, spread, width=width)
        if self.reference_ is None:
            return odds
        return odds + self.weight * soft_distance(self.reference_.soft_whiten(X, predicted))

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
