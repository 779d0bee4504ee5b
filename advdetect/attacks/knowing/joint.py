"""PGD on both goals at once, in a balance that finds itself."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.attacks.base import Norm
from advdetect.attacks.knowing.descent import Descent, Guide, between, margin
from advdetect.attacks.knowing.target import Look, Target


class JointPGD(Descent):
    """Descends a weighted sum of the classifier's margin and the guard's score.

    Both gradients are brought to one size first. The weight of the guard starts at each value of
    a sweep, a start each, and moves: up while the classifier is fooled, down while it is not. So
    it settles, for every picture, where the boundary is just held and the score falls fastest,
    which steps for one goal at a time do not find.

    Args:
        norm: ``linf`` or ``l2``.
        weights: Of the guard, in (0, 1), at the first step; one start each.
        steps: Steps of each start.

    Source:
        Carlini & Wagner 2017, arXiv:1705.07263, section 3.2 (both losses in one); the moving
        weight is that of dual ascent.
    """

    GRADIENTS: ClassVar[int] = 2
    MOVE: ClassVar[tuple[float, float]] = (0.1, 0.01)  # of the weight, first step and last

    def __init__(
        self, norm: Norm, *, weights: tuple[float, ...] = (0.2, 0.5, 0.8), steps: int = 100
    ) -> None:
        super().__init__(norm, steps=steps, restarts=len(weights))
        self.weights = weights

    def _guide(self, target: Target, images: Tensor, labels: Tensor, restart: int) -> Guide:
        return {"weight": torch.full((len(images),), self.weights[restart]).to(images)}

    def _gradient(
        self, look: Look, images: Tensor, labels: Tensor, guide: Guide, share: float
    ) -> Tensor:
        weight = guide["weight"]
        move = between(self.MOVE, share)
        weight += torch.where(look.label != labels, move, -move)
        weight.clamp_(0.01, 0.99)
        goals = (margin(look.logits, labels), look.score)
        to_fool, to_calm = (
            _one_size(torch.autograd.grad(goal.sum(), images, retain_graph=goal is goals[0])[0])
            for goal in goals
        )
        each = weight.view(-1, 1, 1, 1)
        return (1 - each) * to_fool + each * to_calm


def _one_size(gradient: Tensor) -> Tensor:
    size = gradient.abs().flatten(1).mean(1).clamp(min=1e-24)
    return gradient / size.view(-1, 1, 1, 1)
