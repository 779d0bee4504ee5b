"""The contract that every detector keeps."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from advdetect.detectors.smoothing import smoothed
from advdetect.errors import InputError

CLEAN, ADVERSARIAL = 0, 1

Rows = NDArray[np.float64]
Classes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ColumnRoles:
    """What is known of the columns of feature rows before any fit.

    Attributes:
        counted: ``(d,)`` mask of those that a distance from clean rows counts, one at least.
        rising: ``(d,)`` mask of those that attacks raise and noise does not.

    Raises:
        InputError: no column is counted, or masks of different columns.
    """

    counted: NDArray[np.bool_]
    rising: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.counted.shape != self.rising.shape or not self.counted.any():
            raise InputError(
                "expected masks of the same columns, and one column at least that counts; got "
                f"{self.counted.shape} and {self.rising.shape}, {self.counted.sum()} counted"
            )


class Detector(BaseEstimator, ABC):
    """Learns from feature rows and their predicted classes, then scores new ones.

    Higher scores mean more adversarial. A row's score never depends on the other rows of its
    batch, so a service may score one at a time. Subclasses write ``_fit``, ``_score``, ``_save``
    and ``_load``, ``_soft_score`` where they know their gradient, and ``_explained`` where they
    can say what scores are made of; they override nothing else.

    Attributes:
        clean_only: It is fitted on clean rows alone; otherwise on both kinds.
        families: The families of features that its rows hold; ``None``: those of any guard. A
            detector that names its own is a published one, for comparison.
        choices: Values of parameters that a guard chooses from by cross-validation over attacks,
            in this order.
        scoring: Those of them that a fit does not depend on, only scores.
        roles_in_: What the last fit was told of the columns; ``None``: nothing, or read back.
    """

    clean_only: ClassVar[bool] = False
    families: ClassVar[tuple[str, ...] | None] = None
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    scoring: ClassVar[tuple[str, ...]] = ()

    @final
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        predicted: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        roles: ColumnRoles | None = None,
    ) -> Self:
        """Learn from rows; forgets the last fit.

        Args:
            X: ``(n, d)`` features.
            y: ``(n,)`` labels, 1 for adversarial. ``None``: all rows are clean, which only a
                clean-only detector accepts; it leaves adversarial rows out.
            predicted: ``(n,)`` class that the model predicts for each row; ``None``: one class.
            sample_weight: ``(n,)`` weights, 1 by default.
            roles: What is known of the columns, for detectors that measure a distance.

        Raises:
            InputError: labels other than 0 and 1, or not both where both are needed; roles of
                other columns.
        """
        rows = validate_data(self, X, dtype=np.float64)
        labels = np.zeros(len(rows), np.int64) if y is None else np.asarray(y).astype(np.int64)
        kinds = np.unique(labels).tolist()
        needed = [CLEAN] if self.clean_only else [CLEAN, ADVERSARIAL]
        if len(labels) != len(rows) or not set(needed) <= set(kinds) <= {CLEAN, ADVERSARIAL}:
            wanted = "clean rows (label 0)" if self.clean_only else "labels 0 and 1, both present"
            raise InputError(
                f"{type(self).__name__} needs {wanted}, one label a row; "
                f"got {len(labels)} labels {kinds} for {len(rows)} rows"
            )
        if roles is not None and len(roles.counted) != rows.shape[1]:
            raise InputError(
                f"expected a role for each of {rows.shape[1]} columns, got {len(roles.counted)}"
            )
        classes = _classes(predicted, len(rows))
        weight = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight, float)
        if self.clean_only:
            keep = labels == CLEAN
            rows, labels, classes, weight = rows[keep], labels[keep], classes[keep], weight[keep]
        for name in [name for name in vars(self) if name.endswith("_")]:
            if name not in ("n_features_in_", "feature_names_in_"):
                delattr(self, name)
        self.roles_in_ = roles
        self._fit(rows, labels, classes, weight)
        self.fitted_ = True
        return self

    @final
    def decision_function(self, X: ArrayLike, *, predicted: ArrayLike | None = None) -> Rows:
        """Score ``(n, d)`` features; returns ``(n,)``, higher is more adversarial."""
        check_is_fitted(self, "fitted_")
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return self._score(rows, _classes(predicted, len(rows)))

    @final
    def soft_score(
        self, X: Tensor, predicted: Tensor, spread: Tensor, *, width: float = 0.3
    ) -> Tensor:
        """The score as a function that gradients flow through, for attacks that know it.

        Args:
            X: ``(n, d)`` features.
            predicted: ``(n,)`` predicted classes.
            spread: ``(d,)`` what a usual change of each feature is.
            width: In units of ``spread``, how far around a row a score without gradients is
                looked at.

        Returns:
            ``(n,)``, the score; its gradient is exact where the detector has one, else that of
            the score's average around the row.
        """
        check_is_fitted(self, "fitted_")
        return self._soft_score(X, predicted, spread, width)

    @final
    def contributions(self, X: ArrayLike, *, predicted: ArrayLike | None = None) -> Rows | None:
        """What each feature adds to the scores of ``(n, d)`` features, ``(n, d)``.

        A row sums to its score, but for a constant. ``None``: the detector cannot say.
        """
        return self.explained(X, predicted=predicted)[1]

    @final
    def explained(
        self, X: ArrayLike, *, predicted: ArrayLike | None = None
    ) -> tuple[Rows, Rows | None]:
        """What ``decision_function`` and ``contributions`` say, for less than both."""
        check_is_fitted(self, "fitted_")
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return self._explained(rows, _classes(predicted, len(rows)))

    @final
    def score(self, X: ArrayLike, y: ArrayLike, *, predicted: ArrayLike | None = None) -> float:
        """Area under the ROC curve, 0.5 for a coin toss."""
        return float(roc_auc_score(y, self.decision_function(X, predicted=predicted)))

    @final
    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What was learnt: parameters as plain JSON, and arrays by name."""
        check_is_fitted(self, "fitted_")
        return self.get_params(), self._save() | {"n_features": np.array([self.n_features_in_])}

    @classmethod
    @final
    def from_state(cls, parameters: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make a fitted detector again from its ``state``."""
        detector = cls(**parameters)
        detector.n_features_in_ = int(arrays["n_features"][0])
        detector.roles_in_ = None
        detector._load(arrays)
        detector.fitted_ = True
        return detector

    @abstractmethod
    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None: ...

    @abstractmethod
    def _score(self, X: Rows, predicted: Classes) -> Rows: ...

    def _explained(self, X: Rows, predicted: Classes) -> tuple[Rows, Rows | None]:
        return self._score(X, predicted), None

    def _soft_score(self, X: Tensor, predicted: Tensor, spread: Tensor, width: float) -> Tensor:
        classes = predicted.cpu().numpy()
        return smoothed(
            lambda rows: self._score(rows, np.tile(classes, len(rows) // len(classes))),
            X,
            spread,
            width=width,
        )

    @abstractmethod
    def _save(self) -> dict[str, NDArray[Any]]: ...

    @abstractmethod
    def _load(self, arrays: Mapping[str, NDArray[Any]]) -> None: ...


def _classes(predicted: ArrayLike | None, n: int) -> Classes:
    classes = np.zeros(n, np.int64) if predicted is None else np.asarray(predicted, np.int64)
    if classes.shape != (n,) or (n and classes.min() < 0):
        raise InputError(
            f"expected {n} predicted classes from 0, one a row, got shape {classes.shape}"
        )
    return classes
