"""What clean rows look like: the coordinates in which detectors see what is unusual."""

from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from advdetect.detectors.base import Classes, Rows

QUANTILES = (np.arange(20) + 0.5) / 20
NORMAL = ndtri(QUANTILES)
LINEAR = 0.5  # weight of the plain column beside the normal one, which has 1
FAR = 20.0  # standard deviations; beyond them a column says no more than at them
PRIOR = 10.0  # rows that the covariance of all classes counts as, beside a class's own
RIDGE = 0.01  # of a column's variance: directions that vary less among clean rows are not trusted
FEWEST = 10  # rows; a class of fewer is described by all clean rows together
OWN_COVARIANCES = 64  # the largest classes have one; 1,000 would be a gigabyte at 350 columns


@final
class CleanReference:
    """The distribution of clean rows of each predicted class: a Gaussian copula.

    Every column is first mapped to a normal one by its clean quantiles, linearly between 20 of
    them and on beyond the last; to a third it stays as it is, so that a value between two groups
    of clean values is unusual too. Then a row is centred on its predicted class and whitened by the
    class's covariance, which is shrunk towards that of all classes. So clean rows become standard
    normal, roughly, and a row that is unusual for its class lies far from 0. What attacks change
    most lies along directions that hardly vary among clean rows of a class; whitening makes them
    large.

    The state is ``20 + classes`` rows and, for up to 64 classes, a ``d x d`` matrix each: 2 MB
    for 10 classes and 154 columns.

    Attributes:
        arrays: All that was learnt, by name.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self._position = {int(c): i for i, c in enumerate(arrays["classes"])}

    @classmethod
    def fit(cls, rows: Rows, predicted: Classes) -> Self:
        """Learn from clean rows ``(n, d)`` and their predicted classes ``(n,)``."""
        knots = np.quantile(rows, QUANTILES, axis=0)
        least = np.maximum(1e-3 * rows.std(0), 1e-9 + 1e-6 * np.abs(rows.mean(0)))
        # Beyond the last knots: as steep as from one standard deviation on.
        one = np.stack([np.quantile(rows, q, axis=0) for q in (0.159, 0.841)])
        steepness = np.stack([one[0] - knots[0], knots[-1] - one[1]]) / (NORMAL[-1] - 1)
        quantiles = {"knots": knots, "tails": np.maximum(steepness, least)}
        normal = _to_normal(rows, quantiles)

        counts = np.bincount(predicted)
        classes = np.flatnonzero(counts >= FEWEST)
        own = set(classes[np.argsort(-counts[classes], kind="stable")][:OWN_COVARIANCES].tolist())
        centres = np.stack([normal[predicted == c].mean(0) for c in classes] + [normal.mean(0)])
        known = np.isin(predicted, classes)
        residual = normal - centres[-1]
        residual[known] = normal[known] - centres[np.searchsorted(classes, predicted[known])]
        scale = np.maximum(residual.std(0), 1e-6)
        residual /= scale
        pooled = residual.T @ residual / len(rows)
        total = (normal - centres[-1]) / scale
        maps = [_whitening(pooled, scale), _whitening(total.T @ total / len(rows), scale)]
        which = np.zeros(len(centres), np.int64)
        which[-1] = 1
        for i, c in enumerate(classes.tolist()):
            if c in own:
                part = residual[predicted == c]
                shrunk = (PRIOR * pooled + part.T @ part) / (PRIOR + len(part))
                which[i] = len(maps)
                maps.append(_whitening(shrunk, scale))
        return cls(
            {
                **quantiles,
                "classes": classes,
                "centres": centres,
                "maps": np.stack(maps),
                "which": which,
            }
        )

    def whiten(self, rows: Rows, predicted: Classes) -> Rows:
        """Coordinates ``(n, d)`` in which clean rows of a class are about standard normal.

        A class that fitting has hardly seen is held against all clean rows.
        """
        normal = _to_normal(rows, self.arrays)
        centres, maps, which = (self.arrays[name] for name in ("centres", "maps", "which"))
        coordinates = np.empty_like(normal)
        for c in np.unique(predicted).tolist():
            chosen = predicted == c
            i = self._position.get(c, len(centres) - 1)
            coordinates[chosen] = (normal[chosen] - centres[i]) @ maps[which[i]]
        return coordinates


def distance(whitened: Rows) -> Rows:
    """How unusual rows are: log of the mean squared coordinate, about 0 for clean ones."""
    return np.log((whitened**2).mean(1) + 1e-12)


def _to_normal(rows: Rows, quantiles: Mapping[str, NDArray[Any]]) -> Rows:
    knots, (below, above) = quantiles["knots"], quantiles["tails"]
    between = [np.interp(x, xs, NORMAL) for x, xs in zip(rows.T, knots.T, strict=True)]
    normal = np.stack(between, axis=1)
    normal += np.maximum(rows - knots[-1], 0) / above - np.maximum(knots[0] - rows, 0) / below
    plain = (rows - knots.mean(0)) / np.maximum(knots.std(0), (below + above) / 2)
    return np.clip((normal + LINEAR * plain) / (1 + LINEAR), -FAR, FAR)


def _whitening(covariance: Rows, scale: Rows) -> Rows:
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.sqrt(np.maximum(values, 0) + RIDGE) / scale[:, None]
