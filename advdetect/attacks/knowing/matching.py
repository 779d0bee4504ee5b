"""Becoming like a clean picture of another class: in its features, or in its bits."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect.attacks.base import Norm
from advdetect.attacks.knowing.descent import Descent, Guide
from advdetect.attacks.knowing.target import Look, Target

CLASSIFY = 0.1  # weight of the guide's class beside the likeness, which is a mean of columns


class MatchingPGD(Descent):
    """Descends the distance to a guide in feature rows or in bits, and towards its class.

    The guide of a picture is the nearest picture of the batch, in L2, that the model gives
    another class; every restart takes the next nearest. A picture without one is left alone.

    Args:
        norm: ``linf`` or ``l2``.
        what: ``rows``, the features that the guard looks at, or ``bits`` of every layer.
        steps: Steps of each start.
        restarts: How many guides.

    Source:
        Sabour et al. 2016, arXiv:1511.05122 (features matched to a guide).
    """

    def __init__(
        self, norm: Norm, what: Literal["rows", "bits"], *, steps: int = 100, restarts: int = 2
    ) -> None:
        super().__init__(norm, steps=steps, restarts=restarts)
        self.what = what

    def _guide(self, target: Target, images: Tensor, labels: Tensor, restart: int) -> Guide:
        distance = torch.cdist(images.flatten(1), images.flatten(1))
        distance[labels[:, None] == labels[None, :]] = torch.inf
        nearest, order = distance.sort(dim=1, stable=True)
        able = torch.isfinite(nearest).sum(1)
        # The next guide; round again where there are few, itself where there is none.
        place = torch.where(able > 0, restart % able.clamp(min=1), 0)
        chosen = order.gather(1, place[:, None]).squeeze(1)
        chosen = torch.where(able > 0, chosen, torch.arange(len(images), device=images.device))
        with torch.no_grad():
            look = target.look(images[chosen], sharpness=self.sharpness[1])
        bits = {f"bits {name}": bits > 0.5 for name, bits in look.bits.items()}
        return {"rows": look.rows.detach(), "label": look.label, "chosen": chosen, **bits}

    def _gradient(
        self, look: Look, images: Tensor, labels: Tensor, guide: Guide, share: float
    ) -> Tensor:
        if self.what == "rows":
            unlike = (look.rows - guide["rows"]).square().mean(1)
        else:
            layers = [
                (bits - guide[f"bits {name}"].to(bits)).square().mean(1)
                for name, bits in look.bits.items()
            ]
            unlike = 10 * torch.stack(layers).mean(0)
        other = F.cross_entropy(look.logits, guide["label"], reduction="none")
        goal = torch.where(guide["label"] != labels, unlike + CLASSIFY * other, 0 * unlike)
        return torch.autograd.grad(goal.sum(), images)[0]
