"""Attacks made on one model and tried on another."""

from typing import Any, final

import torch
from foolbox.attacks.base import FixedEpsilonAttack, raise_if_kwargs
from foolbox.distances import l2, linf
from torch import Tensor
from torch.nn.functional import cross_entropy

from advdetect.attacks.ascent import ascend
from advdetect.attacks.balls import random_point
from advdetect.attacks.base import Norm
from advdetect.attacks.searching import true_labels, unwrapped


class Transfer(FixedEpsilonAttack):
    """Auto-PGD on a surrogate's cross-entropy; the model itself is asked nothing.

    Every step is taken, also on a picture that the surrogate gets wrong already: what is only
    just across its boundary is seldom across another's.

    Args:
        norm: ``linf`` or ``l2``.
        steps: Steps of the ascent, a gradient of the surrogate each.

    Source:
        Papernot et al. 2016, arXiv:1605.07277; Croce & Hein 2020, arXiv:2003.01690, algorithm 1.
    """

    def __init__(self, norm: Norm, *, steps: int = 50) -> None:
        self.norm = norm
        self.steps = steps

    @property
    def distance(self) -> Any:
        return linf if self.norm == "linf" else l2

    @final
    def run(
        self,
        model: Any,
        inputs: Any,
        criterion: Any,
        *,
        epsilon: float,
        surrogate: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return ``(n, c, h, w)`` pictures that ``surrogate``, a Foolbox model, gets most wrong."""
        raise_if_kwargs(kwargs)
        if surrogate is None:
            raise TypeError("a transfer attack needs surrogate=, a Foolbox model")
        images, wrapped = unwrapped(inputs)
        labels = true_labels(model, criterion)
        never = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)

        def objective(moved: Tensor, lanes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            moved = moved.detach().requires_grad_()
            with torch.enable_grad():
                loss = cross_entropy(surrogate(moved), labels, reduction="none")
            (gradient,) = torch.autograd.grad(loss, moved, torch.ones_like(loss))
            return loss.detach(), gradient, never

        eps = float(epsilon)
        with torch.no_grad():
            start = random_point(images, eps, self.norm, torch.default_generator)
            found = ascend(objective, start, images, eps=eps, norm=self.norm, steps=self.steps)
        return wrapped(found)
