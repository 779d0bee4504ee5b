"""Auto-PGD's ascent: steps with momentum that are halved where they stop paying."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from advdetect.attacks.balls import project, steepest
from advdetect.attacks.base import Norm

# Points and the indices of their lanes, to losses, gradients and which lanes are over.
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

MOMENTUM = 0.75
SUCCESS = 0.75  # share of steps that must raise the loss for the step size to stay


def ascend(
    objective: Objective, start: Tensor, images: Tensor, *, eps: float, norm: Norm, steps: int
) -> Tensor:
    """Return the points of highest loss found within ``eps`` of the images.

    Every lane has its own step size, 2 eps at first. At each checkpoint it is halved, and the
    lane goes back to its best point, if too few steps since the last raised the loss, or if the
    step size was left as it was last time and the best has not improved since.

    Args:
        objective: Takes ``(m, c, h, w)`` points and their ``(m,)`` lanes, and returns losses,
            gradients and whether each lane is over: that one leaves, and is asked about no more.
        start: ``(n, c, h, w)`` first points, inside the budget.
        images: ``(n, c, h, w)`` middle of each lane's budget.
        eps: Budget in pixels of [0, 1].
        norm: ``linf`` or ``l2``.
        steps: Steps of a lane that is never over; it is asked about once more than that.

    Source:
        Croce & Hein 2020, arXiv:2003.01690, algorithm 1 and section 3.3.
    """
    result = start.clone()
    lanes = torch.arange(len(start), device=start.device)
    loss, gradient, over = objective(start, lanes)
    state = _State(
        lanes=lanes,
        images=images,
        moved=start,
        previous=start,
        gradient=gradient,
        loss=loss,
        best=start.clone(),
        best_gradient=gradient.clone(),
        best_loss=loss.clone(),
        size=torch.full_like(loss, 2 * eps),
        rises=torch.zeros_like(lanes),
        mark_loss=loss.clone(),
        halved=torch.zeros_like(over),
    )
    marks, last = checkpoints(steps), 0
    for step in range(1, steps + 1):
        if over.any():
            result[state.lanes[over]] = state.best[over]
            state.keep(~over)
        if not len(state.lanes):
            return result
        state.move(eps, norm, 1.0 if step == 1 else MOMENTUM)
        loss, gradient, over = objective(state.moved, state.lanes)
        state.look(loss, gradient)
        if step in marks:
            state.check(step - last)
            last = step
    result[state.lanes] = state.best
    return result


def checkpoints(steps: int) -> frozenset[int]:
    """Steps after which step sizes are looked at: at shares 0.22, 0.41, 0.57, ... of all."""
    before, share, marks = 0.0, 0.22, []
    while share <= 1:
        marks.append(math.ceil(share * steps - 1e-9))  # 0.41 * 100 is 41 but for rounding
        before, share = share, share + max(share - before - 0.03, 0.06)
    return frozenset(marks)


@dataclass
class _State:
    """Where each lane is: everything that belongs to one, a row for each that is not over."""

    lanes: Tensor
    images: Tensor
    moved: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    size: Tensor
    rises: Tensor
    mark_loss: Tensor
    halved: Tensor

    def keep(self, left: Tensor) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[left])

    def move(self, eps: float, norm: Norm, momentum: float) -> None:
        """One step; a share of ``1 - momentum`` of it goes on in the last one's direction."""
        step = self.size.view(-1, 1, 1, 1) * steepest(self.gradient, norm)
        moved = self.moved.detach()
        ahead = project(moved - step, self.images, eps, norm)
        ahead = moved + momentum * (ahead - moved) + (1 - momentum) * (moved - self.previous)
        self.previous, self.moved = moved, project(ahead, self.images, eps, norm)

    def look(self, loss: Tensor, gradient: Tensor) -> None:
        """Take in what the step came to."""
        self.rises += loss > self.loss
        self.loss, self.gradient = loss, gradient
        better = loss > self.best_loss
        self.best[better] = self.moved.detach()[better]
        self.best_gradient[better] = gradient[better]
        self.best_loss[better] = loss[better]

    def check(self, steps: int) -> None:
        """Halve the steps that paid too little in the last ``steps``, and go back to the best."""
        stuck = ~self.halved & (self.mark_loss >= self.best_loss)
        self.halved = (self.rises < SUCCESS * steps) | stuck
        back = self.halved.view(-1, 1, 1, 1)
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.moved = torch.where(back, self.best, self.moved)
        self.gradient = torch.where(back, self.best_gradient, self.gradient)
        self.loss = torch.where(self.halved, self.best_loss, self.loss)
        self.mark_loss = self.best_loss.clone()
        self.rises = torch.zeros_like(self.rises)
