"""Projected gradient descent on the classifier and the guard together."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from advdetect.attacks.balls import project, random_point, steepest
from advdetect.attacks.base import Norm
from advdetect.attacks.knowing.evasion import Best, Climb
from advdetect.attacks.knowing.target import Look, Target

Guide = Mapping[str, Tensor]


class Descent(Climb):
    """Steps of the budget's steepest descent; subclasses say what is to fall.

    The first start is what a smaller budget found, where it found something; the others are
    random points. The steps shrink, and the guard's stand-in sharpens, as the search goes on.

    Args:
        norm: ``linf`` or ``l2``.
        steps: Steps of each start.
        restarts: How many starts.
        sharpness: Of the guard's stand-in, at the first step and at the last.
        step_size: First and last step, in units of eps.

    Attributes:
        GRADIENTS: Taken at every step.
    """

    GRADIENTS: ClassVar[int] = 1

    def __init__(
        self,
        norm: Norm,
        *,
        steps: int = 100,
        restarts: int = 2,
        sharpness: tuple[float, float] = (8.0, 32.0),
        step_size: tuple[float, float] = (0.25, 0.01),
    ) -> None:
        super().__init__(norm)
        self.steps = steps
        self.restarts = restarts
        self.sharpness = sharpness
        self.step_size = step_size

    @final
    def _improve(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        eps: float,
        best: Best,
        generator: torch.Generator,
    ) -> None:
        for restart in range(self.restarts):
            rows = best.open
            if not len(rows):
                return
            start = random_point(images, eps, self.norm, generator)
            if restart == 0:
                found = (best.p_value >= 0).view(-1, 1, 1, 1)
                start = torch.where(found, best.images, start)
            guide = self._guide(target, images, labels, restart)
            self._descend(target, images, labels, eps, best, start, guide)

    def _descend(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        eps: float,
        best: Best,
        start: Tensor,
        guide: Guide,
    ) -> None:
        rows = best.open
        moved = start[rows]
        guide = {name: value[rows] for name, value in guide.items()}
        for step in range(self.steps + 1):
            share = step / self.steps
            moved = moved.detach().requires_grad_()
            with torch.enable_grad():
                look = target.look(moved, sharpness=between(self.sharpness, share))
                best.keep(rows, moved, labels[rows], look)
                if step == self.steps:
                    return
                best.backwards[rows] += self.GRADIENTS
                gradient = self._gradient(look, moved, labels[rows], guide, share)
            length = eps * between(self.step_size, share)
            with torch.no_grad():
                moved = project(
                    moved + length * steepest(gradient, self.norm), images[rows], eps, self.norm
                )
            left = torch.isin(rows, best.open)
            rows, moved = rows[left], moved[left]
            guide = {name: value[left] for name, value in guide.items()}
            if not len(rows):
                return

    def _guide(self, target: Target, images: Tensor, labels: Tensor, restart: int) -> Guide:
        """What the attack wants to resemble, a row per image; nothing by default."""
        return {}

    @abstractmethod
    def _gradient(
        self, look: Look, images: Tensor, labels: Tensor, guide: Guide, share: float
    ) -> Tensor:
        """Gradient of what is to fall; ``share`` of the steps is behind it.

        ``guide`` holds the rows of the images that are left, and may be changed in place.
        """


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of the true class above the highest other, ``(n,)``; negative: misclassified."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def between(ends: tuple[float, float], share: float) -> float:
    """From the first of two positive numbers to the second, by equal factors."""
    return float(ends[0] * (ends[1] / ends[0]) ** share)
