"""The simple classifier."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from advdetect.detectors.base import Classes, Detector, Rows

FAR = 10.0  # standard deviations; beyond them a feature says no more than at them


class LogisticDetector(Detector):
    """Logistic regression on standardised features.

    The features are standardised by the clean rows it is fitted on. Clean and adversarial rows
    weigh the same as a whole, whatever their numbers; the score is the log-odds.

    Args:
        C: Inverse strength of the L2 penalty.

    Attributes:
        centre_: ``(d,)`` mean of the clean rows.
        scale_: ``(d,)`` their standard deviation.
        coefficients_: ``(d,)`` log-odds per standard deviation.
        intercept_: Log-odds at the centre.
    """

    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {"C": (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)}

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None:
        clean = X[y == 0]
        self.centre_ = clean.mean(0)
        self.scale_ = np.maximum(clean.std(0), 1e-9 + 1e-6 * np.abs(self.centre_))
        share = np.array([weight[y == kind].sum() for kind in (0, 1)])
        balanced = weight * (weight.sum() / 2 / share)[y]
        model = LogisticRegression(C=self.C, max_iter=5000)
        # Of such small products a second thread saves nothing, and on a busy machine it waits.
        with threadpool_limits(1, user_api="blas"):
            model.fit(self._standardise(X), y, sample_weight=balanced)
        self.coefficients_, self.intercept_ = model.coef_[0], model.intercept_

    def _score(self, X: Rows, predicted: Classes) -> Rows:
        return self._explained(X, predicted)[0]

    def _explained(self, X: Rows, predicted: Classes) -> tuple[Rows, Rows]:
        standard = self._standardise(X)
        odds = standard @ self.coefficients_ + self.intercept_[0]
        return odds, standard * self.coefficients_

    def _soft_score(self, X: Tensor, predicted: Tensor, spread: Tensor, width: float) -> Tensor:
        centre, scale, coefficients = (
            torch.as_tensor(array, dtype=X.dtype, device=X.device)
            for array in (self.centre_, self.scale_, self.coefficients_)
        )
        return ((X - centre) / scale).clamp(-FAR, FAR) @ coefficients + self.intercept_[0]

    def _standardise(self, X: Rows) -> Rows:
        return np.clip((X - self.centre_) / self.scale_, -FAR, FAR)

    def _save(self) -> dict[str, NDArray[Any]]:
        return {
            "centre": self.centre_,
            "scale": self.scale_,
            "coefficients": self.coefficients_,
            "intercept": self.intercept_,
        }

    def _load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name in ("centre", "scale", "coefficients", "intercept"):
            setattr(self, f"{name}_", arrays[name])
