"""Feature rows that a guard keeps: what its detector was fitted on, what calibrates it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.attacks import ATTACKS
from advdetect.detectors import Detector


@dataclass(frozen=True, eq=False)
class KeptRows:
    """Feature rows of known origin.

    Attributes:
        rows: ``(n, d)`` features.
        predicted: ``(n,)`` predicted classes.
        origin: ``(n,)`` 0 for clean, else 1 + position in ``budgets``.
        budgets: The attacks and budgets, as text.
    """

    rows: Tensor
    predicted: Tensor
    origin: Tensor
    budgets: tuple[str, ...] = ()

    def fit(self, detector: Detector, *, without: Sequence[str] = ()) -> Detector:
        """Fit a detector, leaving out some budgets.

        Every family of attacks weighs the same, and within it every budget: there are many PGD
        budgets, and few attacks that seek the smallest perturbation.
        """
        left_out = [1 + i for i, budget in enumerate(self.budgets) if budget in without]
        keep = ~torch.isin(self.origin, torch.tensor(left_out, dtype=self.origin.dtype))
        origin = self.origin[keep].cpu().numpy()
        weight = self._weights(origin)
        return detector.fit(
            self.rows[keep].cpu().numpy(),
            (origin > 0).astype(np.int64),
            predicted=self.predicted[keep].cpu().numpy(),
            sample_weight=weight * len(weight) / weight.sum(),
        )

    def scores(self, detector: Detector) -> NDArray[np.float64]:
        """The detector's scores of all rows, ``(n,)``."""
        return detector.decision_function(
            self.rows.cpu().numpy(), predicted=self.predicted.cpu().numpy()
        )

    def balanced_threshold(self, detector: Detector) -> float:
        """Score that tells clean from attacked rows with the best balanced accuracy.

        Without attacked rows it is the score that 5 % of the clean rows exceed.
        """
        scores, origin = self.scores(detector), self.origin.cpu().numpy()
        clean = scores[origin == 0]
        if not self.budgets:
            return float(np.quantile(clean, 0.95))
        candidates = np.quantile(scores, np.linspace(0.002, 0.998, 499))
        order = np.argsort(scores)
        weight = self._weights(origin)
        hit = np.concatenate([np.cumsum((weight * (origin > 0))[order][::-1])[::-1], [0.0]])
        flagged = hit[np.searchsorted(scores[order], candidates, side="right")] / hit[0]
        passed = np.searchsorted(np.sort(clean), candidates, side="right") / len(clean)
        return float(candidates[np.argmax(flagged + passed)])

    def _weights(self, origin: NDArray[Any]) -> NDArray[np.float64]:
        """Weight of each row; clean rows weigh 1 together, so do all attacked."""
        counts = np.bincount(origin, minlength=1 + len(self.budgets))
        present = [i for i in range(len(self.budgets)) if counts[1 + i]]
        families = [ATTACKS[self.budgets[i].split()[0]].family for i in present]
        weights = np.zeros(len(counts))
        weights[0] = 1 / max(counts[0], 1)
        for i, family in zip(present, families, strict=True):
            weights[1 + i] = 1 / len(set(families)) / families.count(family) / counts[1 + i]
        return weights[origin]
