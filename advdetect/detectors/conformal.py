"""From scores to p-values: how often a clean input scores as high."""

from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from advdetect.errors import InputError


@final
class ConformalCalibration:
    """Split-conformal p-values against the scores of held-out clean inputs.

    Guarantee: if a new clean input is exchangeable with the held-out ones, the chance that its
    p-value is at most ``a`` is at most ``a``, for every ``a``, whatever the detector, averaged
    over draws of the held-out sample. It is no guarantee for a given class (unless calibrated
    per class), for data from elsewhere, and none at all that an attack is found.

    Args:
        scores: ``(n,)`` scores of clean inputs that fitting has not seen, higher is more
            adversarial.
        predicted: ``(n,)`` predicted classes; given, each class is calibrated by itself, one that
            does not occur by the scores of all.

    Raises:
        InputError: no scores, or scores that are not finite.

    Source:
        Vovk, Gammerman & Shafer 2005, doi:10.1007/b106715; Bates et al. 2023,
        arXiv:2104.08279, for outliers.
    """

    def __init__(self, scores: ArrayLike, predicted: ArrayLike | None = None) -> None:
        self.scores = np.asarray(scores, np.float64)
        self.predicted = None if predicted is None else np.asarray(predicted, np.int64)
        if self.scores.ndim != 1 or not len(self.scores):
            raise InputError("calibration needs the scores of clean inputs, got none")
        if not np.isfinite(self.scores).all():
            raise InputError("calibration scores must be finite, got NaN or infinity")
        self._sorted = {c: np.sort(self._of(c)) for c in self._groups()}

    def p_values(
        self, scores: ArrayLike, predicted: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Share of clean inputs, the new one among them, that score at least as high.

        Args:
            scores: ``(n,)``.
            predicted: ``(n,)`` predicted classes, needed where classes are calibrated apart.

        Returns:
            ``(n,)`` in (0, 1].
        """
        values = np.asarray(scores, np.float64)
        result = _p_values(np.sort(self.scores), values)
        if self.predicted is not None:
            for c, known in self._sorted.items():
                rows = np.asarray(predicted) == c
                result[rows] = _p_values(known, values[rows])
        return result

    @property
    def counts(self) -> dict[str, int]:
        """Clean inputs behind each class that is calibrated apart; empty where none is."""
        return {str(c): len(known) for c, known in self._sorted.items() if c >= 0}

    def check_enough(self, false_alarm_rate: float) -> None:
        """Require enough clean inputs for p-values as small as ``false_alarm_rate``.

        Raises:
            InputError: the rate is not in (0, 1), or some group has fewer than 1/rate - 1.
        """
        for c, known in self._sorted.items():
            check_enough(len(known), false_alarm_rate, "" if c < 0 else f" predicted as class {c}")

    def _groups(self) -> list[int]:
        return [-1] if self.predicted is None else np.unique(self.predicted).tolist()

    def _of(self, c: int) -> NDArray[np.float64]:
        return self.scores if c < 0 else self.scores[self.predicted == c]


def _p_values(known: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    at_least = len(known) - np.searchsorted(known, values, side="left")
    return (1 + at_least) / (len(known) + 1)


def check_enough(n: int, false_alarm_rate: float, where: str = "") -> None:
    """Require ``n`` calibration inputs to be enough for p-values of ``false_alarm_rate``.

    Raises:
        InputError: the rate is not in (0, 1), or n < 1/rate - 1.
    """
    if not 0 < false_alarm_rate < 1:
        raise InputError(f"a false-alarm rate lies between 0 and 1, got {false_alarm_rate:g}")
    needed = int(np.ceil(1 / false_alarm_rate - 1 - 1e-9))
    if n < needed:
        raise InputError(
            f"a false-alarm rate of {false_alarm_rate:g} needs at least {needed} clean "
            f"calibration inputs{where}, got {n}: give more, or a higher rate"
        )
