"""Fast minimum norm: a ball that shrinks while its surface is adversarial."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from foolbox.attacks.base import MinimizationAttack, raise_if_kwargs
from foolbox.distances import l2, linf
from torch import Tensor

from advdetect.attacks.balls import each
from advdetect.attacks.base import Norm
from advdetect.attacks.losses import margin
from advdetect.attacks.searching import Classify, true_labels, unwrapped

# The radius, until something is found, is where a linear model would change its mind. Steps to
# that very radius come ever closer to the boundary and need never cross it: on a linear model
# they end on it, on one that curves away they end before it.
_MARGIN = 1.02


@dataclass(frozen=True)
class Schedule:
    """How the steps shrink.

    Args:
        steps: How many there are, a gradient each.
        max_stepsize: L2 length of the first.
        min_stepsize: Of the last; ``None``: a hundredth of the first.
        gamma: Share by which the radius first shrinks or grows; 0.001 at the end.
    """

    steps: int
    max_stepsize: float
    min_stepsize: float | None = None
    gamma: float = 0.05

    def at(self, step: int) -> tuple[float, float]:
        """Length of a step and change of the radius, both annealed along a cosine."""
        least = self.max_stepsize / 100 if self.min_stepsize is None else self.min_stepsize
        share = (1 + math.cos(math.pi * step / self.steps)) / 2
        return least + (self.max_stepsize - least) * share, 0.001 + (self.gamma - 0.001) * share


class FastMinimumNorm(MinimizationAttack):
    """Fast minimum norm that also finds what lies just behind its radius.

    Foolbox's projection onto the L2 ball divides a norm by itself and so does nothing: its
    perturbations only ever grow. Here both norms keep to their shrinking ball.

    Args:
        norm: ``linf`` or ``l2``.
        steps: How many there are, a gradient each.
        max_stepsize: L2 length of the first step.
        min_stepsize: Of the last; ``None``: a hundredth of the first.
        gamma: Share by which the radius first shrinks or grows.

    Source:
        Pintor et al. 2021, arXiv:2102.12827, algorithm 1.
    """

    def __init__(
        self,
        norm: Norm,
        *,
        steps: int = 100,
        max_stepsize: float = 1.0,
        min_stepsize: float | None = None,
        gamma: float = 0.05,
    ) -> None:
        self.norm = norm
        self.schedule = Schedule(steps, max_stepsize, min_stepsize, gamma)

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
        early_stop: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return ``(n, c, h, w)`` pictures just across the boundary, or as they were."""
        raise_if_kwargs(kwargs)
        images, wrapped = unwrapped(inputs)
        labels = true_labels(model, criterion)
        with torch.no_grad():
            found = approach(model, images, labels, self.norm, self.schedule)
        return wrapped(found)


def approach(
    classify: Classify, images: Tensor, labels: Tensor, norm: Norm, schedule: Schedule
) -> Tensor:
    """Return the nearest adversarial pictures met, and images as they were where none was.

    Args:
        classify: From points that need gradients to logits.
        images: ``(n, c, h, w)`` pixels in [0, 1].
        labels: ``(n,)`` true classes.
        norm: ``linf`` or ``l2``.
        schedule: Number and length of the steps.
    """
    change, best = torch.zeros_like(images), torch.zeros_like(images)
    farthest = _size(torch.maximum(images, 1 - images), norm)
    nearest = farthest.clone()
    radius = torch.full_like(farthest, torch.inf)
    ever = torch.zeros_like(labels, dtype=torch.bool)
    for step in range(schedule.steps):
        length, gamma = schedule.at(step)
        moved = (images + change).requires_grad_()
        with torch.enable_grad():
            logits = classify(moved)
            gap = margin(logits, labels)
        (gradient,) = torch.autograd.grad(gap, moved, torch.ones_like(gap))
        gap, wrong = gap.detach(), logits.detach().argmax(1) != labels
        size = _size(change, norm)
        closer = wrong & (size <= nearest)
        ever |= wrong
        nearest = torch.where(closer, size, nearest)
        best[closer] = change[closer]
        away = size + gap.abs() / _size(gradient, "l2" if norm == "l2" else "l1")
        radius = torch.where(
            wrong,
            torch.minimum(radius * (1 - gamma), nearest),
            torch.where(ever, radius * (1 + gamma), away),
        ).minimum(farthest)
        unit = 1 / _size(gradient, "l2").clamp(min=1e-12)
        change = change + gradient * each(unit) * length
        change = _shrink(change, _MARGIN * radius, norm)
        change = (images + change).clamp(0, 1) - images
    return images + best


def _shrink(change: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    if norm == "linf":
        return change.clamp(-each(radius), each(radius))
    return change * each((radius / _size(change, "l2").clamp(min=1e-12)).clamp(max=1))


def _size(pictures: Tensor, norm: str) -> Tensor:
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]
    return torch.linalg.vector_norm(pictures.flatten(1), ord=order, dim=1)
