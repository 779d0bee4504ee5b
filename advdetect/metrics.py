"""What grades a detector or a model: a figure, its interval and the number behind it.

Every interval is of 95 % unless told otherwise. Where there is no example there is no figure:
``NONE``, whose ``n`` is 0 and whose other fields are ``None`` (JSON knows no NaN).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from advdetect.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A figure, the interval it may have come from, and the number of examples behind it."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; ``null`` for a figure without examples."""
        return asdict(self)

    def __str__(self) -> str:
        if self.value is None:
            return "no examples"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


NONE = Estimate(None, None, None, 0)


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Share of successes with Wilson's score interval, which stays honest near 0 and 1.

    Raises:
        InputError: more successes than trials, negative numbers, a confidence outside (0, 1).

    Source:
        Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    if not 0 <= successes <= n:
        raise InputError(f"expected 0 <= successes <= n, got {successes} of {n}")
    z = _quantile(confidence)
    if n == 0:
        return NONE
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Exactly 0 and 1 there; the sums above miss them by a rounding error.
    low = 0.0 if successes == 0 else float(centre - half)
    high = 1.0 if successes == n else float(centre + half)
    return Estimate(float(share), low, high, int(n))


def rate(flags: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Share of true flags, with Wilson's interval.

    Given ``p_values <= a`` of adversarial rows it is the detection rate at the false-alarm
    rate ``a``; of clean rows, the false-alarm rate observed.

    Raises:
        InputError: numbers instead of booleans, which would count p-values as flags.
    """
    values = _flags(flags)
    return wilson(int(values.sum()), len(values), confidence=confidence)


def robust_accuracy(
    predictions: ArrayLike, labels: ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Share of inputs still predicted right, with Wilson's interval; of clean inputs: accuracy.

    It counts every input attacked, those that were wrong before included.

    Raises:
        InputError: predictions and labels that do not pair up.
    """
    predicted, true = np.asarray(predictions), np.asarray(labels)
    if predicted.ndim != 1 or predicted.shape != true.shape:
        raise InputError(
            f"expected a prediction per label, got shapes {predicted.shape} and {true.shape}"
        )
    return rate(predicted == true, confidence=confidence)


def robust_accuracy_curve(distances: ArrayLike, eps: ArrayLike) -> NDArray[np.float64]:
    """Share of inputs that no perturbation found reaches: the whole curve of one attack.

    Args:
        distances: ``(n,)`` sizes of the smallest perturbation found; 0 where the clean input
            is predicted wrong already, infinite where the attack failed.
        eps: ``(k,)`` budgets.

    Returns:
        ``(k,)`` shares in [0, 1].

    Raises:
        InputError: no distance, or one that is negative or NaN.
    """
    sizes = np.sort(np.asarray(distances, np.float64))
    if not len(sizes) or not (sizes >= 0).all():
        raise InputError("expected distances of at least 0, one per input")
    return 1 - np.searchsorted(sizes, np.asarray(eps, np.float64), side="right") / len(sizes)


def auroc(
    clean_scores: ArrayLike, adversarial_scores: ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Chance that an adversarial input scores higher than a clean one; ties count half.

    1 for a perfect order, 0.5 for a coin toss, 0 for a detector turned round. The interval is
    DeLong's on the logit scale, which keeps it within [0, 1]. DeLong's variance vanishes for a
    perfect order; the interval then is that of Clopper and Pearson for min(n, m) disjoint
    pairs, all in order: wide, and true. With a single row on a side, or scores all equal,
    the variance is Hanley and McNeil's.

    Args:
        clean_scores: ``(n,)``, higher is more adversarial.
        adversarial_scores: ``(m,)``.
        confidence: Of the interval.

    Returns:
        The area; its ``n`` counts adversarial inputs. O((n + m) log(n + m)) time.

    Raises:
        InputError: scores that are not finite, or not a list of numbers.

    Source:
        DeLong, DeLong & Clarke-Pearson 1988, doi:10.2307/2531595; from ranks: Sun & Xu 2014,
        doi:10.1109/LSP.2014.2337313; Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    y, x = _scores(clean_scores), _scores(adversarial_scores)
    z = _quantile(confidence)
    n, m = len(y), len(x)
    if n == 0 or m == 0:
        return NONE
    ranks = stats.rankdata(np.concatenate([x, y]))
    below = (ranks[:m] - stats.rankdata(x)) / n
    above = 1 - (ranks[m:] - stats.rankdata(y)) / m
    area = float(below.mean())
    if area in (0, 1):
        slack = 1 - ((1 - confidence) / 2) ** (1 / min(n, m))
        return Estimate(area, max(0.0, area - slack), min(1.0, area + slack), m)
    variance = 0.0
    if n > 1 and m > 1:
        variance = float(below.var(ddof=1) / m + above.var(ddof=1) / n)
    if variance == 0:
        first, second = area / (2 - area), 2 * area**2 / (1 + area)
        spread = (m - 1) * (first - area**2) + (n - 1) * (second - area**2)
        variance = (area * (1 - area) + spread) / (m * n)
    width = z * np.sqrt(variance) / (area * (1 - area))
    odds = area / (1 - area) * np.exp([-width, width])
    low, high = 1 - 1 / (1 + odds)
    return Estimate(area, float(low), float(high), m)


def balanced_accuracy(
    clean_flags: ArrayLike, adversarial_flags: ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Mean of the share of clean inputs passed and the share of adversarial ones flagged.

    1 for no mistake, 0.5 for flags that know nothing. The interval puts the Wilson intervals
    of both shares together, distance by distance. ``n`` counts adversarial inputs.

    Raises:
        InputError: numbers instead of booleans.

    Source:
        Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I,
        method 10, for a sum in place of a difference.
    """
    passed = rate(~_flags(clean_flags), confidence=confidence)
    flagged = rate(adversarial_flags, confidence=confidence)
    parts = (passed, flagged)
    if passed.n == 0 or flagged.n == 0:
        return NONE
    value, low, high = (
        np.array([getattr(part, name) for part in parts]) for name in ("value", "low", "high")
    )
    mean = float(value.mean())
    down, up = np.linalg.norm(value - low) / 2, np.linalg.norm(high - value) / 2
    return Estimate(mean, float(mean - down), float(mean + up), flagged.n)


def median(values: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Median with an interval between two of the values, whatever their distribution.

    With few values (fewer than 6 at 95 %) no two of them are far enough apart: the interval
    then runs from the least to the greatest, and holds the median less often than promised.

    Raises:
        InputError: values that are not finite, or not a list of numbers.

    Source:
        The sign test turned round: Conover, Practical Nonparametric Statistics, section 3.2.
    """
    ordered = np.sort(_scores(values))
    n = len(ordered)
    _quantile(confidence)
    if n == 0:
        return NONE
    k = max(int(stats.binom.ppf((1 - confidence) / 2, n, 0.5)), 1)
    low, high = ordered[k - 1], ordered[n - k]
    return Estimate(float(np.median(ordered)), float(low), float(high), n)


def mean(values: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean of shares with Student's interval, as of accuracies over pairs of classes.

    ``n`` counts shares, taken as independent draws. One alone says nothing of the spread.

    Raises:
        InputError: values outside [0, 1], or not a list of numbers.
    """
    shares = _scores(values)
    n = len(shares)
    _quantile(confidence)
    if n == 0:
        return NONE
    if shares.min() < 0 or shares.max() > 1:
        raise InputError(f"shares lie in [0, 1], got [{shares.min():g}, {shares.max():g}]")
    centre = float(shares.mean())
    if n == 1:
        return Estimate(centre, 0.0, 1.0, 1)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * stats.sem(shares))
    return Estimate(centre, max(0.0, centre - half), min(1.0, centre + half), n)


def false_alarm_interval(
    nominal: float,
    calibration: int | Sequence[int],
    evaluation: int | Sequence[int],
    *,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Where the observed false-alarm rate of a perfectly calibrated guard falls.

    Calibration images are a sample as well. Given them, a clean input is flagged (its p-value
    is at most ``nominal``) with a chance drawn from Beta(k, calibration + 1 - k), where
    k = floor(nominal (calibration + 1)); so the false alarms among the evaluation images are
    beta-binomial. Where classes are calibrated apart each has its own law, and they are
    independent. Scores are taken as free of ties.

    Args:
        nominal: The nominal false-alarm rate, in (0, 1).
        calibration: Clean images behind the p-values; of each class calibrated apart.
        evaluation: Clean images on which false alarms are counted; of each class likewise.
        confidence: Of the interval.

    Returns:
        Lowest and highest rate of the central interval; it holds at least ``confidence``. Both
        are 0 where calibration images are so few that no p-value reaches ``nominal``.

    Raises:
        InputError: a rate outside (0, 1), no calibration or evaluation image, or classes of
            the one and not of the other.

    Source:
        Vovk 2012, arXiv:1209.2673, proposition 2a (the beta law).
    """
    if not 0 < nominal < 1:
        raise InputError(f"a false-alarm rate lies between 0 and 1, got {nominal:g}")
    behind, counted = (np.atleast_1d(np.asarray(n, np.int64)) for n in (calibration, evaluation))
    if behind.shape != counted.shape:
        raise InputError(f"{len(behind)} classes are calibrated, and {len(counted)} evaluated")
    for what, images in (("calibration", behind), ("evaluation", counted)):
        if images.sum() < 1:
            raise InputError(f"expected at least one {what} image, got {images.sum()}")
    _quantile(confidence)
    chances = np.ones(1)
    for n, m in zip(behind.tolist(), counted.tolist(), strict=True):
        # 0.29 * 100 is 28.999999999999996, and a p-value of 29/100 is flagged at 0.29.
        k = int(np.floor(nominal * (n + 1) * (1 + 1e-12)))
        if k:
            chances = np.convolve(chances, stats.betabinom(m, k, n + 1 - k).pmf(np.arange(m + 1)))
    ends = (0.5 - confidence / 2, 0.5 + confidence / 2)
    low, high = np.searchsorted(np.cumsum(chances), ends) / counted.sum()
    return float(low), float(high)


def _quantile(confidence: float) -> float:
    """How many standard deviations hold ``confidence`` of a normal law, both sides."""
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, got {confidence:g}")
    return float(stats.norm.ppf(0.5 + confidence / 2))


def _flags(flags: ArrayLike) -> NDArray[np.bool_]:
    values = np.asarray(flags)
    if values.size == 0:
        return np.zeros(0, bool)
    if values.ndim != 1 or values.dtype != bool:
        raise InputError(
            f"expected a list of true or false, got {values.dtype} of shape {values.shape}: "
            "compare p-values with the false-alarm rate first"
        )
    return values


def _scores(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise InputError(f"expected a list of numbers, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError("values must be finite, got NaN or infinity")
    return values
