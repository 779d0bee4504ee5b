"""Whether traffic still looks like the clean inputs that the guard was calibrated on."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import exp, log
from random import Random
from typing import final

import numpy as np
from numpy.typing import NDArray

from advdetect.detectors.conformal import ConformalCalibration
from advdetect.service.false_warnings import RATE

# Fine where attacks show, coarse elsewhere.
EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# How far from uniform the alternatives are: a Dirichlet prior of so many pseudo-counts.
CONCENTRATIONS = (10.0, 100.0, 1000.0)


class _Group:
    """The gaps between one group's sorted calibration scores, and the bins they fall into."""

    def __init__(self, scores: NDArray[np.float64]) -> None:
        self.sorted: list[float] = np.sort(scores).tolist()
        n = len(scores)
        # Gap g, counted from the highest score, holds the inputs of p-value (g + 1) / (n + 1).
        p_values = (np.arange(n + 1) + 1) / (n + 1)
        _, bins = np.unique(np.searchsorted(EDGES, p_values - 1e-12), return_inverse=True)
        self.bin_of_gap: list[int] = bins.tolist()
        self.gaps: list[float] = np.bincount(bins).astype(np.float64).tolist()
        self.total = float(n + 1)

    def bin(self, score: float, generator: Random) -> int:
        """Where a score falls; among equal scores anywhere, so that ties do not look like drift."""
        low, high = bisect_left(self.sorted, score), bisect_right(self.sorted, score)
        above = len(self.sorted) - high
        return self.bin_of_gap[above + (generator.randint(0, high - low) if high > low else 0)]


class _Window:
    """Evidence against uniformity since a moment: log likelihood ratios, alternative to null.

    Plain Python: on a dozen numbers NumPy costs ten times the arithmetic.
    """

    def __init__(self, groups: dict[int, _Group]) -> None:
        self._groups = groups
        self._counts = {c: [0] * len(group.gaps) for c, group in groups.items()}
        self._seen = dict.fromkeys(groups, 0)
        self._logs = {c: [0.0] * len(CONCENTRATIONS) for c in groups}
        self._evidence = dict.fromkeys(groups, 0.0)

    def add(self, c: int, found: int) -> float:
        """Enter an input's bin; returns the log of the evidence so far."""
        group, counts, logs = self._groups[c], self._counts[c], self._logs[c]
        seen, count = self._seen[c], counts[found]
        gaps, total = group.gaps[found], group.total
        # Both are urns: what was seen makes itself likelier. That of the null begins with the
        # calibration sample, which is why a small sample does not look like drift.
        log_null = log((gaps + count) / (total + seen))
        for i, a in enumerate(CONCENTRATIONS):
            logs[i] += log((a * gaps / total + count) / (a + seen)) - log_null
        counts[found] += 1
        self._seen[c] += 1
        highest = max(logs)
        self._evidence[c] = highest + log(sum(exp(x - highest) for x in logs) / len(logs))
        return sum(self._evidence.values())


@final
class DriftTest:
    """Test, input after input, that the p-values of traffic are uniform.

    Two windows run at any time, each over ``window`` inputs and half a window apart. In each a
    likelihood ratio grows or shrinks: of urns that begin nearly anywhere, to the urn that begins
    with the calibration sample. If traffic is exchangeable with the calibration inputs, the ratio
    of a window is a martingale of expectation 1, exactly and for any size of the calibration
    sample: the gaps between n scores have Dirichlet(1, ..., 1) masses, so the bins of later inputs
    follow that very urn. By Ville's inequality it ever reaches ``1 / a`` with a chance of at most
    ``a``. Window ``j`` = 1, 2, ... is allowed ``rate / (j (j + 1))``, which adds up to ``rate``.

    So **the chance of ever warning falsely, in a guard's whole service, is at most ``rate``**, for
    windows that depend on each other as these do. Classes calibrated apart have urns apart, whose
    ratios are multiplied.

    Traps: it warns of anything that is not exchangeable with the calibration inputs, in either
    direction: attacks, another camera, another mixture of classes, but also one picture sent a
    thousand times. It cannot say which. Rare attacks go unnoticed, and are flagged one by one: with
    2,000 calibration inputs and ``rate`` 0.01, attacks on 5 in 100 inputs were noticed in 20 of 20
    simulated services (after 177 inputs, the median), on 3 in 100 in 17 within 5,000 inputs, on 2
    in 100 in 6.

    Args:
        calibration: The guard's.
        rate: Chance of a false warning, ever.
        window: Inputs that a window looks at.
        seed: Decides between equal scores.

    Source:
        Ville 1939; Vovk, Gammerman & Shafer 2005, chapter 7; Shafer et al. 2011,
        doi:10.1214/10-STS347, for test martingales.
    """

    def __init__(
        self,
        calibration: ConformalCalibration,
        *,
        rate: float = RATE,
        window: int = 1000,
        seed: int = 0,
    ) -> None:
        self.rate = rate
        self.window = window
        self._generator = Random(seed)
        scores, predicted = calibration.scores, calibration.predicted
        if predicted is None:
            self._groups = {-1: _Group(scores)}
        else:
            self._groups = {int(c): _Group(scores[predicted == c]) for c in np.unique(predicted)}
        self._windows: list[tuple[_Window, float]] = []
        self._begun = 0
        self._inputs = 0
        self._highest = 0.0
        self._last_alarm: int | None = None

    @property
    def evidence(self) -> float:
        """Log10 of the running evidence, over what a warning needs: 0 or more is a warning."""
        return self._highest / log(10)

    @property
    def warning(self) -> bool:
        """Whether something within the last window of inputs raised, or upheld, a warning."""
        return self._last_alarm is not None and self._inputs - self._last_alarm < self.window

    def add(self, scores: Sequence[float], predicted: Sequence[int]) -> bool:
        """Enter judged inputs in their order; returns whether a warning begins with them."""
        before = self.warning
        begins = False
        for score, label in zip(scores, predicted, strict=True):
            c = label if -1 not in self._groups else -1
            if c not in self._groups:  # a class without calibration inputs says nothing
                continue
            if self._inputs % max(1, self.window // 2) == 0:
                self._open()
            self._inputs += 1
            found = self._groups[c].bin(score, self._generator)
            levels = [window.add(c, found) - needed for window, needed in self._windows]
            self._highest = max(levels)
            if self._highest >= 0:
                self._last_alarm = self._inputs
            begins = begins or (self.warning and not before)
            before = self.warning
        return begins

    def _open(self) -> None:
        """Begin a window; the one that has seen its share ends."""
        self._begun += 1
        needed = log(self._begun * (self._begun + 1) / self.rate)
        self._windows = [*self._windows, (_Window(self._groups), needed)][-2:]
