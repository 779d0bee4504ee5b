"""Distance to the nearest class, layer by layer, on channel means."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation

RIDGE = 1e-3  # of the mean variance: channels that never vary are not trusted


class MahalanobisFeatures(Feature):
    """Least squared Mahalanobis distance to a class, under one covariance for all classes.

    On the mean output of every channel of a layer, a column a layer. The state holds the class
    means and a ``channels x channels`` matrix a layer.

    Source:
        Lee et al. 2018, arXiv:1807.03888, Eq. 2 and section 2.2; classes are predicted ones, and
        no noise is added to the input.
    """

    needs_means: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        classes = reference.predicted.contiguous()
        known = classes.unique()
        for layer in self.layers:
            means = reference.means[layer].double()
            centres = torch.stack([means[classes == c].mean(0) for c in known])
            residual = means - centres[torch.searchsorted(known, classes)]
            covariance = residual.T @ residual / len(residual)
            ridge = RIDGE * covariance.diagonal().mean() + 1e-12
            values, vectors = torch.linalg.eigh(covariance)
            whitening = vectors / torch.sqrt(values.clamp(min=0) + ridge)
            self.state[f"whitening.{layer}"] = whitening.float()
            self.state[f"centres.{layer}"] = (centres @ whitening).float()

    def _columns(self) -> list[tuple[str, str]]:
        return [(layer, "squared distance to the nearest class") for layer in self.layers]

    def _rows(self, observation: Observation) -> Tensor:
        columns: list[Tensor] = []
        for layer in self.layers:
            white = observation.means[layer] @ self.state[f"whitening.{layer}"]
            gaps = white[:, None] - self.state[f"centres.{layer}"]
            columns.append(gaps.square().sum(2).amin(1))
        return torch.stack(columns, dim=1)
