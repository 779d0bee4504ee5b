"""Orthogonal PGD: each goal along the level set of the other."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.attacks.knowing.descent import Descent, Guide, margin
from advdetect.attacks.knowing.target import Look


class OrthogonalPGD(Descent):
    """Steps for the goal not yet reached, along directions that leave the other as it is.

    Where the classifier is still right: down its margin, with the part along the guard's
    gradient taken out; where it is wrong: down the guard's score, with the part along the
    margin's gradient taken out.

    Source:
        Bryniarski, Hingun, Pachuca, Wang & Carlini 2021, arXiv:2106.15023, section 4.3.
    """

    GRADIENTS: ClassVar[int] = 2

    def _gradient(
        self, look: Look, images: Tensor, labels: Tensor, guide: Guide, share: float
    ) -> Tensor:
        goals = (margin(look.logits, labels), look.score)
        to_fool, to_calm = (
            torch.autograd.grad(goal.sum(), images, retain_graph=goal is goals[0])[0]
            for goal in goals
        )
        wrong = (look.label != labels).view(-1, 1, 1, 1)
        return torch.where(wrong, _without(to_calm, to_fool), _without(to_fool, to_calm))


def _without(gradient: Tensor, other: Tensor) -> Tensor:
    """Take out of each picture's gradient its part along the other."""
    inner = (gradient * other).flatten(1).sum(1)
    size = other.flatten(1).square().sum(1).clamp(min=1e-24)
    return gradient - (inner / size).view(-1, 1, 1, 1) * other
