"""DeepFool: steps to where a linear model would change its mind."""

from collections.abc import Sequence
from typing import Any, final

import torch
from foolbox.attacks.base import MinimizationAttack, raise_if_kwargs
from foolbox.distances import l2
from torch import Tensor

from advdetect.attacks.searching import true_labels, unwrapped


class L2DeepFool(MinimizationAttack):
    """DeepFool in L2: one forward pass a step, and no more steps for a picture once across.

    Args:
        steps: At most so many for each picture.
        candidates: How many of the likeliest classes count, the picture's own included; every
            further one costs a backward pass a step.
        overshoot: How far beyond the boundary to go, as a share of the way.

    Source:
        Moosavi-Dezfooli et al. 2016, arXiv:1511.04599, algorithm 2.
    """

    distance = l2

    def __init__(self, *, steps: int = 50, candidates: int = 10, overshoot: float = 0.02) -> None:
        self.steps = steps
        self.candidates = candidates
        self.overshoot = overshoot

    @final
    def run(
        self,
        model: Any,
        inputs: Any,
        criterion: Any,
        *,
        early_stop: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return ``(n, c, h, w)`` pictures just across the boundary, or where the steps ended."""
        raise_if_kwargs(kwargs)
        images, wrapped = unwrapped(inputs)
        labels = true_labels(model, criterion)
        found, moved = images.clone(), images
        path = torch.zeros_like(images)
        rows = torch.arange(len(images), device=images.device)
        classes: Tensor | None = None
        for _ in range(self.steps):
            points = moved.detach().requires_grad_()
            with torch.enable_grad():
                logits = model(points)
                if classes is None:
                    likeliest = logits.argsort(dim=1).flip(1)  # ties as Foolbox breaks them
                    classes = likeliest[:, : min(self.candidates, logits.shape[1])]
                gaps = logits.gather(1, classes[:, 1:]) - logits.gather(1, classes[:, :1])
                each = gaps.unbind(1)
            left = logits.detach().argmax(1) == labels[rows]
            if not left.any():
                break
            step = _nearest_plane(each, points)
            rows, classes, path = rows[left], classes[left], path[left] + step[left]
            moved = (images[rows] + (1 + self.overshoot) * path).clamp(0, 1)
            found[rows] = moved
        return wrapped(found)


def _nearest_plane(gaps: Sequence[Tensor], points: Tensor) -> Tensor:
    """Return the shortest step that closes one of the ``(n,)`` gaps of a linear model."""
    gradients = [
        torch.autograd.grad(gap, points, torch.ones_like(gap), retain_graph=gap is not gaps[-1])[0]
        for gap in gaps
    ]
    gradient = torch.stack(gradients, 1)
    steepness = gradient.flatten(2).norm(dim=2) + 1e-8
    away = torch.stack(tuple(gaps), 1).detach().abs() / steepness
    pick = torch.arange(len(points), device=points.device), away.argmin(1)
    # A little further, lest rounding end the step on the near side.
    length = (away[pick] + 1e-4) / steepness[pick]
    return length.view(-1, 1, 1, 1) * gradient[pick]
