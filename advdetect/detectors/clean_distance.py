"""How far rows are from the clean ones: one number of many columns."""

from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.detectors.base import Classes, ColumnRoles, Rows
from advdetect.detectors.kept_tensors import KeptTensors
from advdetect.detectors.reference import FAR, RIDGE, TINY, CleanReference, copied, varying


@final
class CleanDistance:
    """The log of a row's mean squared deviation from clean rows; a usual row has about 0.

    Deviations are coordinates in which the clean rows of the predicted class are about standard
    normal (``CleanReference``). Where the roles of columns are known, those counted are looked at
    alone, and what raises all rising columns together is unusual besides. Their lift is the sum of
    their deviations from clean rows of all classes, in the weights that tell a common shift best:
    standard normal, roughly, of clean rows, and of noise, which moves them up and down alike. Where
    the lift of ``k`` columns is above 0, its square over ``k`` is added to the mean square: that
    is the square of the common shift, were they independent.

    Attributes:
        arrays: All that was learnt, by name.

    Source:
        Our own. The weights are those of generalised least squares (Aitken 1936), where negative
        set to 0: a column that is up must not speak against an attack.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self._reference = CleanReference(self.arrays)
        self._lift = KeptTensors(self.arrays, ("rising", "usual", "weights"))

    @classmethod
    def fit(cls, rows: Rows, predicted: Classes, roles: ColumnRoles | None = None) -> Self:
        """Learn from clean rows ``(n, d)`` and their predicted classes ``(n,)``."""
        if roles is None:
            return cls(CleanReference.fit(rows, predicted).arrays)
        arrays = CleanReference.fit(rows, predicted, roles.counted).arrays
        rising = np.flatnonzero(roles.rising & varying(rows))
        if len(rising):
            known = rows[:, rising]
            usual = np.stack([known.mean(0), known.std(0)])
            deviations = ((known - usual[0]) / usual[1]).clip(-FAR, FAR)
            covariance = deviations.T @ deviations / len(rows) + RIDGE * np.eye(len(rising))
            weights = np.linalg.solve(covariance, np.ones(len(rising))).clip(min=0)
            weights /= np.sqrt(weights @ covariance @ weights)
            arrays |= {"rising": rising, "usual": usual, "weights": weights}
        return cls(arrays)

    def score(self, rows: Rows, predicted: Classes) -> Rows:
        """How unusual rows ``(n, d)`` are, ``(n,)``."""
        return self.soft_score(*copied(rows, predicted)).numpy()

    def soft_score(self, rows: Tensor, predicted: Tensor) -> Tensor:
        """The same of tensors; gradients flow through."""
        return self._score(self._reference.soft_whiten(rows, predicted), self._lifted(rows))

    def explained(self, rows: Rows, predicted: Classes) -> tuple[Rows, Rows]:
        """The score ``(n,)``, and what each column adds to it ``(n, d)``: a row sums to it.

        A column speaks for an attack where its part of the mean is above what is usual, and
        against one where it is below.
        """
        X, classes = copied(rows, predicted)
        whitened, parts = self._reference.whitened_parts(X, classes)
        lifted = self._lifted(X)
        counted = self.arrays.get("counted", np.arange(rows.shape[1]))
        above = np.zeros_like(rows)
        above[:, counted] = (parts.numpy() - 1) / len(counted)
        if lifted is not None:
            lift = lifted.sum(1, keepdim=True).relu()
            above[:, self.arrays["rising"]] += (lift * lifted / lifted.shape[1]).numpy()
        # They sum to the mean less 1; scaled, to its logarithm.
        beyond = above.sum(1, keepdims=True)
        at_one = np.abs(beyond) < 1e-9
        scale = np.where(at_one, 1, np.log1p(beyond + TINY) / np.where(at_one, 1, beyond))
        return self._score(whitened, lifted).numpy(), above * scale

    def _score(self, whitened: Tensor, lifted: Tensor | None) -> Tensor:
        mean = whitened.square().mean(1)
        if lifted is not None:
            mean = mean + lifted.sum(1).relu().square() / lifted.shape[1]
        return torch.log(mean + TINY)

    def _lifted(self, rows: Tensor) -> Tensor | None:
        """Each rising column's part of the lift ``(n, k)``: they sum to it."""
        if "rising" not in self.arrays:
            return None
        rising, usual, weights = self._lift.like(rows)
        return ((rows[:, rising] - usual[0]) / usual[1]).clamp(-FAR, FAR) * weights
