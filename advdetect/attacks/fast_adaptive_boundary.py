"""Fast adaptive boundary: across the nearest boundary by way of linear models of it."""

from typing import final

import torch
from torch import Tensor

from advdetect.attacks.balls import each, perturbation_size, project
from advdetect.attacks.base import Norm
from advdetect.attacks.losses import target_gap
from advdetect.attacks.searching import Hold, Search, aims

OVERSHOOT = 1.05  # of each move onto the boundary's linear model
PULL = 0.1  # largest share of a move that starts from the image itself
BACK = 0.9  # of the way, once across: the boundary is sought nearer


class FastAdaptiveBoundary(Search):
    """Goes to where the boundary to a class would be if it were flat, again and again.

    Moves are the shortest within [0, 1], so that pixels that cannot go further leave their share to
    others; and no budget bounds the way: it may lead through regions where gradients are
    nothing, and comes back nearer. Here it is content with anything within eps.

    Args:
        norm: ``linf`` or ``l2``.
        steps: Steps towards each class, a gradient each.
        targets: At most so many classes for each image, the likeliest first.
        lanes: Points that may go through the model at once, unless more images come.

    Source:
        Croce & Hein 2020, arXiv:1907.02044, algorithm 1 (targeted, as in arXiv:2003.01690); that
        it stops at eps, and looks at each point once, is our own.
    """

    def __init__(self, norm: Norm, *, steps: int = 100, targets: int = 9, lanes: int = 100) -> None:
        super().__init__(norm)
        self.steps = steps
        self.targets = targets
        self.lanes = lanes

    @final
    def search(self, hold: Hold) -> None:
        """Approach the boundaries to the likeliest classes in turn."""
        for rows, targets in aims(hold, self.targets, self.lanes):
            self._approach(hold, rows, targets)

    def _approach(self, hold: Hold, rows: Tensor, targets: Tensor) -> None:
        images = hold.images[rows]
        moved = images.clone()
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_()
            with torch.enable_grad():
                logits = hold.classify(moved)
                gap = target_gap(logits, hold.labels[rows], targets)
            inside = perturbation_size(moved.detach() - images, self.norm) <= hold.eps
            hold.judge(moved[inside], rows[inside], logits[inside])
            left = hold.holds(rows)
            if not left.any():
                return
            (gradient,) = torch.autograd.grad(gap, moved, torch.ones_like(gap))
            rows, targets, images, moved, gap, gradient = (
                part[left]
                for part in (rows, targets, images, moved.detach(), gap.detach(), gradient)
            )
            moved = self._step(moved, images, gap, gradient)
        hold.attempt(project(moved, images, hold.eps, self.norm), rows)

    def _step(self, moved: Tensor, images: Tensor, gap: Tensor, gradient: Tensor) -> Tensor:
        """From each point to the next."""
        across = gap > 0
        # The linear model: gap + <gradient, z - moved> is to rise to 0, from the point and from
        # the image.
        change = (gradient * (moved - images)).flatten(1).sum(1)
        near = onto_plane(moved, gradient, -gap, self.norm)
        far = onto_plane(images, gradient, change - gap, self.norm)
        sizes = perturbation_size(near, self.norm), perturbation_size(far, self.norm)
        pull = each((sizes[0] / (sizes[0] + sizes[1]).clamp(min=1e-12)).clamp(max=PULL))
        ahead = (1 - pull) * (moved + OVERSHOOT * near) + pull * (images + OVERSHOOT * far)
        back = images + BACK * (moved - images)
        return torch.where(each(across), back, ahead).clamp(0, 1)


def onto_plane(pixels: Tensor, normal: Tensor, rise: Tensor, norm: Norm) -> Tensor:
    """Return the smallest change, within [0, 1], by which a linear function rises enough.

    Where no change within [0, 1] is enough, it is the one that comes nearest.

    Args:
        pixels: ``(n, c, h, w)`` in [0, 1].
        normal: ``(n, c, h, w)`` the functions' gradients.
        rise: ``(n,)`` by how much they are to rise; negative to fall.
        norm: In which the change is to be small: ``linf`` or ``l2``.

    Source:
        Croce & Hein 2020, arXiv:1907.02044, section 2.2: the dual is piecewise linear.
    """
    slope = (normal * each(rise.sign())).flatten(1)
    steep = slope.abs()
    room = torch.where(slope > 0, 1 - pixels.flatten(1), pixels.flatten(1))
    # A pixel moves by its pace times a common length, until it is at its end. What the function
    # gains by a length: each pixel's pace times its steepness.
    pace = steep if norm == "l2" else (steep > 0).to(steep)
    ends = torch.where(pace > 0, room / pace.clamp(min=1e-30), 0.0)
    gain = pace * steep
    ends, order = ends.sort(1)
    gain = gain.gather(1, order)
    stopped = (gain * ends).cumsum(1)  # by pixels at their ends
    going = gain.flip(1).cumsum(1).flip(1)  # by those not yet, for a unit of length
    before = torch.cat([torch.zeros_like(stopped[:, :1]), stopped[:, :-1]], 1)
    needed = rise.abs()[:, None]
    enough = before + ends * going >= needed
    # Where all together are not enough, as far as the last of them goes.
    last = enough.shape[1] - 1
    first = torch.where(enough.any(1), enough.to(torch.uint8).argmax(1), last)[:, None]
    length = (needed - before.gather(1, first)) / going.gather(1, first).clamp(min=1e-30)
    length = torch.minimum(length, ends.gather(1, first)).clamp(min=0)
    return (slope.sign() * torch.minimum(pace * length, room)).view_as(pixels)
