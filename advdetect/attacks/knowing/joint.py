"""PGD on both goals at once, their balance swept."""

import torch
from torch import Tensor

from advdetect.attacks.knowing.descent import Descent, Guide, margin
from advdetect.attacks.knowing.target import Look, Target

CONFIDENT = 5.0  # logits; a margin deeper than this earns nothing more


class JointPGD(Descent):
    """Descends the margin plus ``weight`` times the score; every restart takes the next weight.

    Args:
        norm: ``linf`` or ``l2``.
        weights: Of the guard's score against the classifier's margin; one start each.
        steps: Steps of each start.

    Source:
        Carlini & Wagner 2017, arXiv:1705.07263, section 3.2 (both losses in one).
    """

    def __init__(
        self, norm: str, *, weights: tuple[float, ...] = (0.1, 1.0, 10.0), steps: int = 100
    ) -> None:
        super().__init__(norm, steps=steps, restarts=len(weights))  # type: ignore[arg-type]
        self.weights = weights

    def _guide(self, target: Target, images: Tensor, labels: Tensor, restart: int) -> Guide:
        return {"weight": torch.full((len(images),), self.weights[restart]).to(images)}

    def _gradient(
        self, look: Look, images: Tensor, labels: Tensor, guide: Guide, share: float
    ) -> Tensor:
        goal = margin(look.logits, labels).clamp(min=-CONFIDENT) + guide["weight"] * look.score
        return torch.autograd.grad(goal.sum(), images)[0]
