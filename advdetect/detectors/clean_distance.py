"""How far rows are from the clean ones: one number of many columns."""

from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.detectors.base import Classes, ColumnRoles, Rows
from advdetect.detectors.reference import FAR, RIDGE, TINY, CleanReference


@final
class CleanDistance:
    """The log of a row's mean squared deviation from the clean rows of its class.

    Deviations are coordinates in which clean rows are about standard normal (``CleanReference``),
    so a usual row has about 0. Where the roles of columns are known, those counted are looked at
    alone, and the square of the ``lift`` over the number of rising columns is added to the mean:
    noise moves such columns up and down alike, an attack all of them up.

    Attributes:
        arrays: All that was learnt, by name.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self._reference = CleanReference(self.arrays)

    @classmethod
    def fit(cls, rows: Rows, predicted: Classes, roles: ColumnRoles | None = None) -> Self:
        """Learn from clean rows ``(n, d)`` and their predicted classes ``(n,)``."""
        if roles is None:
            return cls(CleanReference.fit(rows, predicted).arrays)
        arrays = CleanReference.fit(rows, predicted, np.flatnonzero(roles.counted)).arrays
        # A column that is the same in all clean rows, such as one of colour in grey pictures,
        # says nothing of how far is unusual.
        rising = np.flatnonzero(roles.rising & (rows.std(0) > 1e-6 * np.abs(rows.mean(0))))
        if len(rising):
            usual = np.stack([rows[:, rising].mean(0), rows[:, rising].std(0)])
            deviations = (rows[:, rising] - usual[0]) / usual[1]
            covariance = deviations.T @ deviations / len(rows) + RIDGE * np.eye(len(rising))
            weights = np.linalg.solve(covariance, np.ones(len(rising)))
            arrays |= {"rising": rising, "usual": usual, "lift": weights / np.sqrt(weights.sum())}
        return cls(arrays)

    def score(self, rows: Rows, predicted: Classes) -> Rows:
        """How unusual rows ``(n, d)`` are, ``(n,)``; about 0 for clean ones."""
        # Copies: torch takes no reversed arrays.
        copies = torch.from_numpy(np.array(rows)), torch.from_numpy(np.array(predicted))
        return self.soft_score(*copies).numpy()

    def soft_score(self, rows: Tensor, predicted: Tensor) -> Tensor:
        """The same of tensors; gradients flow through."""
        mean = self._reference.soft_whiten(rows, predicted).square().mean(1)
        if "lift" in self.arrays:
            lifted = self._lifted(rows)
            mean = mean + lifted.sum(1).relu().square() / lifted.shape[1]
        return torch.log(mean + TINY)

    def parts(self, rows: Rows, predicted: Classes) -> Rows:
        """What each column adds to the distance, ``(n, d)``: a row sums to its score.

        A column speaks for an attack where its part of the mean is above what is usual, and
        against one where it is below.
        """
        counted = self.arrays.get("counted", np.arange(rows.shape[1]))
        above = self._reference.parts(rows, predicted) / len(counted)
        above[:, counted] -= 1 / len(counted)
        if "lift" in self.arrays:
            lifted = self._lifted(torch.from_numpy(np.array(rows))).numpy()
            lift = np.maximum(lifted.sum(1, keepdims=True), 0)
            above[:, self.arrays["rising"]] += lift * lifted / lifted.shape[1]
        # They sum to the mean less 1; scaled, to its logarithm.
        beyond = above.sum(1, keepdims=True)
        at_one = np.abs(beyond) < 1e-9
        return above * np.where(at_one, 1, np.log1p(beyond + TINY) / np.where(at_one, 1, beyond))

    def _lifted(self, rows: Tensor) -> Tensor:
        """Each rising column's part of the lift: they sum to it.

        The lift is by how much all rising columns are up together, the sum of their deviations
        in the weights that tell a common shift best; standard normal, roughly, of clean rows.
        """
        usual, weights = (
            torch.tensor(self.arrays[name], dtype=rows.dtype, device=rows.device)
            for name in ("usual", "lift")
        )
        return ((rows[:, self.arrays["rising"]] - usual[0]) / usual[1]).clamp(-FAR, FAR) * weights
