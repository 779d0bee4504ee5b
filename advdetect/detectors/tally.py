"""Published scores that need no fitting: what a column says, or the sum of several."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.detectors.base import Classes, Detector, Rows


class TallyDetector(Detector):
    """Mean of the columns, each in standard deviations of the clean rows.

    Every column is higher for adversarial inputs by its own meaning; subclasses say which
    families of features they read.

    Attributes:
        centre_: ``(d,)`` mean of the clean rows.
        scale_: ``(d,)`` their standard deviation.
    """

    clean_only: ClassVar[bool] = True

    def _fit(self, X: Rows, y: Classes, predicted: Classes, weight: Rows) -> None:
        self.centre_ = X.mean(0)
        self.scale_ = np.maximum(X.std(0), 1e-9 + 1e-6 * np.abs(self.centre_))

    def _score(self, X: Rows, predicted: Classes) -> Rows:
        return ((X - self.centre_) / self.scale_).mean(1)

    def _soft_score(self, X: Tensor, predicted: Tensor, spread: Tensor, width: float) -> Tensor:
        centre, scale = (
            torch.as_tensor(array, dtype=X.dtype, device=X.device)
            for array in (self.centre_, self.scale_)
        )
        return ((X - centre) / scale).mean(1)

    def _save(self) -> dict[str, NDArray[Any]]:
        return {"centre": self.centre_, "scale": self.scale_}

    def _load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.centre_, self.scale_ = arrays["centre"], arrays["scale"]


class MaximumSoftmaxDetector(TallyDetector):
    """How little probability is left for other classes (Hendrycks & Gimpel 2017)."""

    families: ClassVar[tuple[str, ...] | None] = ("softmax",)


class MarginDetector(TallyDetector):
    """How small the lead of the predicted class's logit is (Liang et al. 2024)."""

    families: ClassVar[tuple[str, ...] | None] = ("margin",)


class EnergyDetector(TallyDetector):
    """Free energy of the logits (Liu et al. 2020)."""

    families: ClassVar[tuple[str, ...] | None] = ("energy",)


class SqueezingDetector(TallyDetector):
    """How far squeezing the picture moves the prediction; two more passes (Xu et al. 2018).

    The mean of the squeezers, in standard deviations; the paper takes the largest.
    """

    families: ClassVar[tuple[str, ...] | None] = ("squeezing",)


class DeepNeighborDetector(TallyDetector):
    """Neighbours of another class, over all layers (Papernot & McDaniel 2018)."""

    families: ClassVar[tuple[str, ...] | None] = ("deep_knn",)


class VirtualLogitDetector(TallyDetector):
    """Residual of the last features against the logits (ViM, Wang et al. 2022)."""

    families: ClassVar[tuple[str, ...] | None] = ("virtual_logit",)
