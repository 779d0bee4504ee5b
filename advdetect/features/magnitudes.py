"""How strongly, and how decidedly, a layer's units fire."""

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation

NEAR = 0.1  # of the layer's mean magnitude: pre-activations that a small change can flip


class MagnitudeFeatures(Feature):
    """Sizes of the pre-activations behind the bits, and the share of bits about to flip.

    Taken over every second of the chosen units. Nothing is learnt, and nothing kept.
    """

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        names = ("mean output", "mean inhibition", "norm", "share of bits about to flip")
        return [(layer, name) for layer in self.layers for name in names]

    def _rows(self, observation: Observation) -> Tensor:
        blocks: list[Tensor] = []
        for layer in self.layers:
            z = observation.thinned[layer]
            size = z.abs()
            mean_size, mean = size.mean(1), z.mean(1)
            # Written as floats: as bools the comparison costs four times as much.
            near = torch.empty_like(z, requires_grad=False)
            torch.lt(size.detach(), NEAR * mean_size.detach()[:, None], out=near)
            norm = torch.linalg.vector_norm(z, dim=1)
            blocks += [(mean_size + mean) / 2, (mean_size - mean) / 2, norm, near.mean(1)]
        return torch.stack(blocks, dim=1)
