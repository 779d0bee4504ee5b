"""Feature rows that a guard keeps: what its detector was fitted on, what calibrates it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from torch import Tensor

from advdetect.attacks import ATTACKS
from advdetect.detectors import Detector
from advdetect.detectors.base import ColumnRoles
from advdetect.features import Column

FOLDS = 3  # of the source images; one is kept from a fit that is tried
FEWEST = 20  # rows of a kind; with fewer nothing is chosen


@dataclass(frozen=True, eq=False)
class KeptRows:
    """Feature rows of known origin.

    Attributes:
        rows: ``(n, d)`` features.
        predicted: ``(n,)`` predicted classes.
        origin: ``(n,)`` 0 for clean, else 1 + position in ``budgets``.
        budgets: The attacks and budgets, as text.
        source: ``(n,)`` number of the source image of each row, where that is known: then what a
            detector leaves open is chosen before it is fitted.
        roles: What is known of the columns before a fit.
    """

    rows: Tensor
    predicted: Tensor
    origin: Tensor
    budgets: tuple[str, ...] = ()
    source: Tensor | None = None
    roles: ColumnRoles | None = None

    def fit(self, detector: Detector, *, without: Sequence[str] = ()) -> Detector:
        """Fit a detector, leaving out some budgets.

        Every family of attacks weighs the same, and within it every budget: there are many PGD
        budgets, and few attacks that seek the smallest perturbation. Of a detector's ``choices``
        those are taken that do best on families of attacks that a fit has not seen.
        """
        if self.source is not None and detector.choices:
            detector.set_params(**self._chosen(detector, without))
        keep = self._without(without)
        origin = self.origin[keep].cpu().numpy()
        weight = self._weights(origin)
        return detector.fit(
            self.rows[keep].cpu().numpy(),
            (origin > 0).astype(np.int64),
            predicted=self.predicted[keep].cpu().numpy(),
            sample_weight=weight * len(weight) / weight.sum(),
            roles=self.roles,
        )

    def only(self, chosen: Tensor) -> "KeptRows":
        """The rows of a mask ``(n,)``."""
        return replace(
            self,
            rows=self.rows[chosen],
            predicted=self.predicted[chosen],
            origin=self.origin[chosen],
            source=None if self.source is None else self.source[chosen],
        )

    def scores(self, detector: Detector) -> NDArray[np.float64]:
        """The detector's scores of all rows, ``(n,)``."""
        return detector.decision_function(
            self.rows.cpu().numpy(), predicted=self.predicted.cpu().numpy()
        )

    def area(self, detector: Detector, budgets: Sequence[str]) -> float:
        """Mean AUROC of some budgets' rows beside the clean ones; 0.5 where there are none."""
        scores, origin = self.scores(detector), self.origin.cpu().numpy()
        clean = scores[origin == 0]
        areas: list[float] = []
        for budget in budgets:
            hit = scores[origin == 1 + self.budgets.index(budget)]
            if len(hit) and len(clean):
                labels = np.repeat([0, 1], [len(clean), len(hit)])
                areas.append(roc_auc_score(labels, np.concatenate([clean, hit])))
        return float(np.mean(areas)) if areas else 0.5

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

    def _chosen(self, detector: Detector, without: Sequence[str]) -> dict[str, Any]:
        """The parameters with the best mean AUROC over families, each left out in turn.

        A family is scored beside clean rows on source images that the fit has not seen either.
        Parameters are chosen one after the other, those to come at their first value.
        """
        assert self.source is not None
        counts = self.origin.bincount(minlength=1 + len(self.budgets)).tolist()
        rows: dict[str, int] = {}
        for budget, count in zip(self.budgets, counts[1:], strict=True):
            if budget not in without:
                rows[family_of(budget)] = rows.get(family_of(budget), 0) + count
        families = sorted(rows)
        if len(families) < 2 or min(counts[0], *rows.values()) < FEWEST:
            return {}
        sources, number = self.source.unique(return_inverse=True)
        order = torch.randperm(len(sources), generator=torch.Generator().manual_seed(0))
        fold = order[number] % FOLDS
        tries: list[tuple[KeptRows, KeptRows, list[str]]] = []
        for i, family in enumerate(families):
            unseen = fold == i % FOLDS
            own = [b for b in self.budgets if family_of(b) == family]
            tries.append((replace(self.only(~unseen), source=None), self.only(unseen), own))

        chosen = {name: values[0] for name, values in detector.choices.items()}
        for name, values in detector.choices.items():
            found = np.zeros((len(values), len(tries)))
            for i, (seen, tried, own) in enumerate(tries):
                # From the last on: what is fitted at it can be scored at all others.
                for j in reversed(range(len(values))):
                    if j == len(values) - 1 or name not in detector.scoring:
                        one = clone(detector).set_params(**chosen | {name: values[j]})
                        one = seen.fit(one, without=[*without, *own])
                    found[j, i] = tried.area(one.set_params(**{name: values[j]}), own)
            chosen[name] = values[int(found.mean(1).argmax())]
        return chosen

    def _without(self, budgets: Sequence[str]) -> Tensor:
        """Mask of the rows that are of none of these budgets."""
        left_out = [1 + i for i, budget in enumerate(self.budgets) if budget in budgets]
        return ~torch.isin(self.origin, torch.tensor(left_out, dtype=self.origin.dtype))

    def _weights(self, origin: NDArray[Any]) -> NDArray[np.float64]:
        """Weight of each row; clean rows weigh 1 together, so do all attacked."""
        counts = np.bincount(origin, minlength=1 + len(self.budgets))
        present = [i for i in range(len(self.budgets)) if counts[1 + i]]
        families = [family_of(self.budgets[i]) for i in present]
        weights = np.zeros(len(counts))
        weights[0] = 1 / max(counts[0], 1)
        for i, family in zip(present, families, strict=True):
            weights[1 + i] = 1 / len(set(families)) / families.count(family) / counts[1 + i]
        return weights[origin]


def roles_of(columns: Sequence[Column]) -> ColumnRoles | None:
    """The roles that features' columns have in a distance; ``None`` where all have the same."""
    counted = np.array([column.counted for column in columns])
    rising = np.array([column.rising for column in columns])
    return ColumnRoles(counted, rising) if rising.any() or not counted.all() else None


def family_of(budget: str) -> str:
    """Family of an attack and eps as text."""
    return ATTACKS[budget.split()[0]].family
