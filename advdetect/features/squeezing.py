"""How far the prediction moves when the picture is squeezed."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation


class SqueezingFeatures(Feature):
    """L1 distance of the softmax to that of the picture squeezed, a column a squeezer.

    Two passes of the model more. Of the paper's squeezers the third, non-local means, is left
    out. Nothing is learnt.

    Source:
        Xu, Evans & Qi 2018, arXiv:1704.01155, section V.
    """

    needs_views: ClassVar[tuple[str, ...]] = ("fewer_levels", "median")

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        return [("", f"change by {name.replace('_', ' ')}") for name in self.needs_views]

    def _rows(self, observation: Observation) -> Tensor:
        own = observation.logits.softmax(1)
        changes = [
            (observation.views[name].softmax(1) - own).abs().sum(1) for name in self.needs_views
        ]
        return torch.stack(changes, dim=1)
