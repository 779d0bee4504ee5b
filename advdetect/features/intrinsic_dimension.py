"""Local intrinsic dimensionality, layer by layer, on channel means."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation

NEIGHBORS = 20
SAMPLE = 500


class DimensionFeatures(Feature):
    """Maximum-likelihood estimate of the dimension around an input, a column a layer.

    From its distances to the 20 nearest of 500 clean reference inputs, on the mean output of
    every channel. In the paper the sample is a minibatch of 100 and features are flattened.

    Source:
        Ma et al. 2018, arXiv:1801.02613, Eq. 4.
    """

    needs_means: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        for layer in self.layers:
            self.state[f"sample.{layer}"] = reference.means[layer][:SAMPLE].contiguous()

    def _columns(self) -> list[tuple[str, str]]:
        return [(layer, "intrinsic dimension") for layer in self.layers]

    def _rows(self, observation: Observation) -> Tensor:
        columns: list[Tensor] = []
        for layer in self.layers:
            sample = self.state[f"sample.{layer}"]
            distance = torch.cdist(observation.means[layer], sample)
            k = min(NEIGHBORS, len(sample))
            nearest = distance.topk(k, dim=1, largest=False).values.clamp(min=1e-9)
            logs = torch.log(nearest / nearest.amax(1, keepdim=True))
            columns.append(-1 / logs.mean(1).clamp(max=-1e-6))
        return torch.stack(columns, dim=1)
