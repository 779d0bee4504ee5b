"""Deep k-nearest neighbours: do an input's neighbours have its class, layer by layer?"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect.features.base import Feature, Observation

NEIGHBORS = 50
SAMPLE = 2000


class DeepNeighborFeatures(Feature):
    """Share of the 50 nearest clean inputs that are predicted another class, a column a layer.

    By cosine, on the mean output of every channel, among up to 2,000 reference inputs. With
    gradients asked for, the share is one of weights that fall with the distance from the k-th.

    Source:
        Papernot & McDaniel 2018, arXiv:1803.04765 (their nonconformity is the sum of the
        columns times the number of neighbours).
    """

    needs_means: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        self.state["predicted"] = reference.predicted[:SAMPLE].contiguous()
        for layer in self.layers:
            self.state[f"sample.{layer}"] = F.normalize(reference.means[layer][:SAMPLE], dim=1)

    def _columns(self) -> list[tuple[str, str]]:
        return [(layer, "neighbours of another class") for layer in self.layers]

    def _rows(self, observation: Observation) -> Tensor:
        other = self.state["predicted"] != observation.predicted[:, None]
        columns: list[Tensor] = []
        for layer in self.layers:
            sample = self.state[f"sample.{layer}"]
            similarity = F.normalize(observation.means[layer], dim=1) @ sample.T
            k = min(NEIGHBORS, len(sample) - 1)
            nearest = similarity.topk(k + 1, dim=1)
            if observation.sharpness is None:
                columns.append(other.gather(1, nearest.indices[:, :k]).to(similarity.dtype).mean(1))
                continue
            last = nearest.values[:, k - 1 :].detach().mean(1, keepdim=True)
            unit = (nearest.values[:, :1].detach() - last).clamp(min=1e-6)
            weights = torch.sigmoid(observation.sharpness * (similarity - last) / unit)
            columns.append((weights * other).sum(1) / weights.sum(1))
        return torch.stack(columns, dim=1)
