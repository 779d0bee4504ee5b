"""Selective PGD: one goal at a time."""

import torch
from torch import Tensor

from advdetect.attacks.knowing.descent import Descent, Guide, margin
from advdetect.attacks.knowing.target import Look


class SelectivePGD(Descent):
    """Fools the classifier where it is still right, and calms the guard where it is wrong.

    Source:
        Bryniarski, Hingun, Pachuca, Wang & Carlini 2021, arXiv:2106.15023, section 4.2.
    """

    def _gradient(
        self, look: Look, images: Tensor, labels: Tensor, guide: Guide, share: float
    ) -> Tensor:
        wrong = look.label != labels
        goal = torch.where(wrong, look.score, margin(look.logits, labels))
        return torch.autograd.grad(goal.sum(), images)[0]
