"""Auto-PGD: gradient ascent without a step size to choose."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from advdetect.attacks.ascent import ascend
from advdetect.attacks.balls import random_point
from advdetect.attacks.base import Norm
from advdetect.attacks.losses import targeted_dlr
from advdetect.attacks.searching import Hold, Search, aims


def climb(
    hold: Hold,
    rows: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    norm: Norm,
    steps: int,
) -> None:
    """Ascend from a random start for each of the images ``rows``, until it is broken.

    Args:
        hold: The images under attack; what is found goes there.
        rows: ``(m,)`` images to climb on, a lane each.
        loss: Of ``(k, classes)`` logits and their ``(k,)`` lanes; ``(k,)``, to be made large.
        norm: ``linf`` or ``l2``.
        steps: Steps of each lane.
    """
    images = hold.images[rows]
    start = random_point(images, hold.eps, norm, torch.default_generator)

    def objective(moved: Tensor, lanes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moved = moved.detach().requires_grad_()
        with torch.enable_grad():
            logits, over = hold.ask(moved, rows[lanes])
            value = loss(logits, lanes)
        if over.all():
            return value.detach(), torch.zeros_like(moved), over
        (gradient,) = torch.autograd.grad(value, moved, torch.ones_like(value))
        return value.detach(), gradient, over

    best = ascend(objective, start, images, eps=hold.eps, norm=norm, steps=steps)
    hold.attempt(best, rows)


class AutoPGD(Search):
    """Auto-PGD from random starts; subclasses name the loss.

    Args:
        norm: ``linf`` or ``l2``.
        steps: Steps of each start.
        restarts: How many times all of it is done, on the images that hold by then.

    Source:
        Croce & Hein 2020, arXiv:2003.01690, algorithm 1.
    """

    def __init__(self, norm: Norm, *, steps: int = 100, restarts: int = 1) -> None:
        super().__init__(norm)
        self.steps = steps
        self.restarts = restarts

    @final
    def search(self, hold: Hold) -> None:
        """Climb from random starts until nothing holds."""
        for _ in range(self.restarts):
            for rows, targets in self._rounds(hold):
                self._climb(hold, rows, targets)

    def _climb(self, hold: Hold, rows: Tensor, targets: Tensor) -> None:
        def loss(logits: Tensor, lanes: Tensor) -> Tensor:
            return self._loss(logits, hold.labels[rows[lanes]], targets[lanes])

        climb(hold, rows, loss, norm=self.norm, steps=self.steps)

    @abstractmethod
    def _rounds(self, hold: Hold) -> Iterator[tuple[Tensor, Tensor]]:
        """Images to climb on, a lane each, with the class each lane aims at, round by round."""

    @abstractmethod
    def _loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """Loss of each lane, to be made large."""


class CrossEntropyAutoPGD(AutoPGD):
    """Auto-PGD on the cross-entropy, towards any other class."""

    def _rounds(self, hold: Hold) -> Iterator[tuple[Tensor, Tensor]]:
        rows = hold.rows
        if len(rows):
            yield rows, hold.labels[rows]

    def _loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, labels, reduction="none")


class TargetedAutoPGD(AutoPGD):
    """Auto-PGD on the targeted DLR loss, towards the likeliest wrong classes in turn.

    DLR needs three classes: with two, the loss is the plain difference of the logits. Where few
    images hold, several classes are aimed at side by side, so that the model gets full batches.

    Args:
        norm: ``linf`` or ``l2``.
        steps: Steps towards each class.
        restarts: How many times all classes are aimed at.
        targets: At most so many classes for each image.
        lanes: Points that may go through the model at once, unless more images come.
    """

    def __init__(
        self,
        norm: Norm,
        *,
        steps: int = 100,
        restarts: int = 1,
        targets: int = 9,
        lanes: int = 100,
    ) -> None:
        super().__init__(norm, steps=steps, restarts=restarts)
        self.targets = targets
        self.lanes = lanes

    def _rounds(self, hold: Hold) -> Iterator[tuple[Tensor, Tensor]]:
        return aims(hold, self.targets, self.lanes)

    def _loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        return targeted_dlr(logits, labels, targets)
