"""What clean rows look like: the coordinates in which detectors see what is unusual."""

from collections.abc import Iterator, Mapping
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from threadpoolctl import threadpool_limits
from torch import Tensor

from advdetect.detectors.base import Classes, Rows
from advdetect.detectors.kept_tensors import KeptTensors

QUANTILES = (np.arange(20) + 0.5) / 20
NORMAL = ndtri(QUANTILES)
LINEAR = 0.5  # weight of the plain column beside the normal one, which has 1
FAR = 20.0  # standard deviations; beyond them a column says no more than at them
PRIOR = 10.0  # rows that the covariance of all classes counts as, beside a class's own
RIDGE = 0.01  # of a column's variance: directions that vary less among clean rows are not trusted
FEWEST = 10  # rows; a class of fewer is described by all clean rows together
TINY = 1e-12  # a row at the very centre has a finite distance, too
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

    The state is ``20 + classes`` rows and, for up to 64 classes, a ``d x d`` matrix each, ``d``
    being the number of columns looked at: 1 MB for 10 classes and 154 columns.

    Attributes:
        arrays: All that was learnt, by name.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self._position = {int(c): i for i, c in enumerate(arrays["classes"])}
        self._tensors = KeptTensors(arrays, ("knots", "tails", "centres", "maps", "counted"))

    @classmethod
    def fit(cls, rows: Rows, predicted: Classes, counted: NDArray[Any] | None = None) -> Self:
        """Learn from clean rows ``(n, d)`` and their predicted classes ``(n,)``.

        ``counted`` is a mask ``(d,)`` of the columns to look at; ``None``: all.
        """
        chosen = {} if counted is None else {"counted": np.flatnonzero(counted)}
        rows = rows if counted is None else rows[:, counted]
        knots = np.quantile(rows, QUANTILES, axis=0)
        least = np.maximum(1e-3 * rows.std(0), 1e-9 + 1e-6 * np.abs(rows.mean(0)))
        # Beyond the last knots: as steep as from one standard deviation on.
        one = np.stack([np.quantile(rows, q, axis=0) for q in (0.159, 0.841)])
        steepness = np.stack([one[0] - knots[0], knots[-1] - one[1]]) / (NORMAL[-1] - 1)
        quantiles = {"knots": knots, "tails": np.maximum(steepness, least)}
        every = [rows, *quantiles.values()]
        normal = _to_normal(*(torch.from_numpy(np.array(array)) for array in every)).numpy()

        counts = np.bincount(predicted)
        classes = np.flatnonzero(counts >= FEWEST)
        own = set(classes[np.argsort(-counts[classes], kind="stable")][:OWN_COVARIANCES].tolist())
        centres = np.stack([normal[predicted == c].mean(0) for c in classes] + [normal.mean(0)])
        known = np.isin(predicted, classes)
        residual = normal - centres[-1]
        residual[known] = normal[known] - centres[np.searchsorted(classes, predicted[known])]
        # What does not vary says nothing of how far is unusual: its directions are left out.
        scale = np.where(varying(rows), np.maximum(residual.std(0), 1e-6), np.inf)
        residual /= scale
        pooled = residual.T @ residual / len(rows)
        total = (normal - centres[-1]) / scale
        covariances = [pooled, total.T @ total / len(rows)]
        which = np.zeros(len(centres), np.int64)
        which[-1] = 1
        for i, c in enumerate(classes.tolist()):
            if c in own:
                part = residual[predicted == c]
                which[i] = len(covariances)
                covariances.append((PRIOR * pooled + part.T @ part) / (PRIOR + len(part)))
        # Of such small matrices a second thread saves little, and on a busy machine it waits.
        with threadpool_limits(1, user_api="blas"):
            maps = [_whitening(covariance, scale) for covariance in covariances]
        return cls(
            {
                **chosen,
                **quantiles,
                "classes": classes,
                "centres": centres,
                "maps": np.stack(maps),
                "which": which,
            }
        )

    def whiten(self, rows: Rows, predicted: Classes) -> Rows:
        """Coordinates ``(n, k)`` in which clean rows of a class are about standard normal.

        A class that fitting has hardly seen is held against all clean rows.
        """
        return self.soft_whiten(*copied(rows, predicted)).numpy()

    def soft_whiten(self, rows: Tensor, predicted: Tensor) -> Tensor:
        """The same of tensors; gradients flow through."""
        whitened = rows.new_empty(len(rows), self.width)
        for chosen, centred, whitening in self._centred(rows, predicted):
            whitened[chosen] = centred @ whitening
        return whitened

    def whitened_parts(self, rows: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """``soft_whiten``, and each counted column's part of a row's squared distance ``(n, k)``.

        A row of parts sums to the square; a column that varies together with another may have less
        than nothing.
        """
        whitened, parts = rows.new_empty(2, len(rows), self.width)
        for chosen, centred, whitening in self._centred(rows, predicted):
            whitened[chosen] = found = centred @ whitening
            parts[chosen] = centred * (found @ whitening.T)
        return whitened, parts

    @property
    def width(self) -> int:
        """Number of columns looked at."""
        return self.arrays["knots"].shape[1]

    def _centred(self, rows: Tensor, predicted: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of each class: its rows' mask, their centred normal values, and the class's map."""
        knots, tails, centres, maps, *counted = self._tensors.like(rows)
        normal = _to_normal(rows[:, counted[0]] if counted else rows, knots, tails)
        for c in predicted.unique().tolist():
            chosen = predicted == c
            i = self._position.get(c, len(centres) - 1)
            yield chosen, normal[chosen] - centres[i], maps[self.arrays["which"][i]]


def varying(rows: Rows) -> NDArray[np.bool_]:
    """Which columns ``(d,)`` vary by more than rounding."""
    return rows.std(0) > 1e-9 + 1e-6 * np.abs(rows.mean(0))


def distance(whitened: Rows) -> Rows:
    """How unusual rows are: log of the mean squared coordinate, about 0 for clean ones."""
    return np.log((whitened**2).mean(1) + TINY)


def copied(rows: Rows, predicted: Classes) -> tuple[Tensor, Tensor]:
    """Copies: torch takes no reversed arrays, and warns of read-only ones."""
    return torch.from_numpy(np.array(rows)), torch.from_numpy(np.array(predicted))


def _to_normal(rows: Tensor, knots: Tensor, tails: Tensor) -> Tensor:
    x, at = rows.T.contiguous(), knots.T.contiguous()
    below, above = tails[:, :, None]
    # Between knots of one value there is nothing: the last of them counts.
    segment = torch.searchsorted(at, x.detach(), right=True) - 1
    left = segment.clamp(0, len(NORMAL) - 2)
    start, end = at.gather(1, left), at.gather(1, left + 1)
    tiny = torch.finfo(rows.dtype).tiny
    share = ((x - start) / (end - start).clamp_min(tiny)).clamp(0, 1)
    share = torch.where(segment >= len(NORMAL) - 1, 1.0, share)
    normal_at = torch.tensor(NORMAL, dtype=rows.dtype, device=rows.device)
    normal = normal_at[left] + share * (normal_at[left + 1] - normal_at[left])
    normal = normal + (x - at[:, -1:]).relu() / above - (at[:, :1] - x).relu() / below
    middle, spread = at.mean(1, keepdim=True), at.std(1, correction=0, keepdim=True)
    plain = (x - middle) / torch.maximum(spread, (below + above) / 2)
    return ((normal + LINEAR * plain) / (1 + LINEAR)).clamp(-FAR, FAR).T


def _whitening(covariance: Rows, scale: Rows) -> NDArray[np.float32]:
    """A map ``(d, d)`` after which rows of this covariance, in units of ``scale``, vary as 1."""
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(np.maximum(values, 0) + RIDGE) / scale[:, None]
    # Halves the file: nearly all of a reference is these maps.
    return whitening.astype(np.float32)
