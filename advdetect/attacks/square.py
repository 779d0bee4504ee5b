"""Square attack: random search on the logits, without gradients."""

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from advdetect.attacks.balls import project
from advdetect.attacks.base import Norm
from advdetect.attacks.losses import margin
from advdetect.attacks.searching import Hold, Search

# Shares of the queries after which the squares have half the area.
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


class Square(Search):
    """Changes one square of every picture at a time, and keeps it where the margin shrinks.

    Every picture has squares of its own, at places of their own.

    Args:
        norm: ``linf`` or ``l2``.
        queries: Times that each picture is asked about.
        share: Of the picture that the first squares cover.

    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, algorithm 1.
    """

    def __init__(self, norm: Norm, *, queries: int = 5000, share: float = 0.8) -> None:
        super().__init__(norm)
        self.queries = queries
        self.share = share

    @final
    def search(self, hold: Hold) -> None:
        """Ask about each picture until it is broken or the queries are spent."""
        rows = hold.rows
        if not len(rows):
            return
        images = hold.images[rows]
        moved = self._start(images, hold.eps)
        logits, over = hold.ask(moved, rows)
        worth = margin(logits, hold.labels[rows])
        for query in range(1, self.queries):
            if over.any():
                left = ~over
                rows, images, moved, worth = rows[left], images[left], moved[left], worth[left]
            if not len(rows):
                return
            side = side_length(self.share, query / self.queries, images.shape[2:])
            tried = self._propose(moved, images, hold.eps, side)
            logits, over = hold.ask(tried, rows)
            value = margin(logits, hold.labels[rows])
            better = value > worth
            moved[better] = tried[better]
            worth = torch.maximum(value, worth)
        hold.attempt(moved, rows)

    @abstractmethod
    def _start(self, images: Tensor, eps: float) -> Tensor:
        """First pictures, at the edge of the budget."""

    @abstractmethod
    def _propose(self, moved: Tensor, images: Tensor, eps: float, side: int) -> Tensor:
        """Pictures with one more square of ``side`` pixels changed."""


class LinfSquare(Square):
    """Squares of one colour, each channel at an end of its budget, over vertical stripes.

    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, algorithm 2.
    """

    def __init__(self, *, queries: int = 5000, share: float = 0.8) -> None:
        super().__init__("linf", queries=queries, share=share)

    def _start(self, images: Tensor, eps: float) -> Tensor:
        stripes = _signs((*images.shape[:2], 1, images.shape[3]), images)
        return (images + eps * stripes).clamp(0, 1)

    def _propose(self, moved: Tensor, images: Tensor, eps: float, side: int) -> Tensor:
        n, channels, height, width = images.shape
        down, across = _windows(n, side, height, width, images.device)
        inside = _mask(down, side, height)[:, :, None] & _mask(across, side, width)[:, None]
        inside = inside[:, None]
        step = eps * _signs((n, channels, 1, 1), images)
        tried = torch.where(inside, (images + step).clamp(0, 1), moved)
        same = (tried == moved).flatten(1).all(1)
        if same.any():
            # The square was of that colour already: the opposite one, or the query is wasted.
            other = torch.where(inside[same], (images - step)[same].clamp(0, 1), moved[same])
            tried[same] = other
        return tried


class L2Square(Square):
    """Moves what the budget holds from one square to another, in the shape of two bumps.

    Source:
        Andriushchenko et al. 2020, arXiv:1912.00049, algorithm 3 and equation 2.
    """

    def __init__(self, *, queries: int = 5000, share: float = 0.8) -> None:
        super().__init__("l2", queries=queries, share=share)

    def _start(self, images: Tensor, eps: float) -> Tensor:
        n, channels, height, width = images.shape
        side = max(1, min(height, width) // 5)
        down, across = height // side, width // side
        signs = _signs((n, channels, down, across), images)
        tiles = signs.repeat_interleave(side, 2).repeat_interleave(side, 3)
        tiles *= bumps(side).to(images).repeat(down, across)
        change = torch.zeros_like(images)
        top, start = (height - down * side) // 2, (width - across * side) // 2
        change[:, :, top : top + down * side, start : start + across * side] = tiles
        change *= eps / change.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
        return project(images + change, images, eps, "l2")

    def _propose(self, moved: Tensor, images: Tensor, eps: float, side: int) -> Tensor:
        n, channels, height, width = images.shape
        taken, given = (
            _Window(*_windows(n, side, height, width, images.device), side) for _ in range(2)
        )
        change = moved - images
        energy = change.square().sum((2, 3), keepdim=True)
        unused = (eps**2 - energy.sum(1, keepdim=True)).clamp(min=0) / channels
        shape = bumps(side).to(images)
        turned = torch.rand(n, generator=torch.default_generator).to(images.device) < 0.5
        shape = torch.where(turned.view(-1, 1, 1, 1), shape.T, shape)
        now = given.read(change)
        now = _unit(_signs((n, channels, 1, 1), images) * shape + _unit(now))
        taken.write(change, torch.zeros_like(now))
        given.write(change, torch.zeros_like(now))
        freed = energy - change.square().sum((2, 3), keepdim=True)
        given.write(change, now * (freed.clamp(min=0) + unused).sqrt())
        return project(images + change, images, eps, "l2")


class _Window:
    """A square of ``side`` pixels in each picture, at a place of its own."""

    def __init__(self, down: Tensor, across: Tensor, side: int) -> None:
        offsets = torch.arange(side, device=down.device)
        self._rows = torch.arange(len(down), device=down.device)[:, None, None]
        self._down = (down[:, None] + offsets)[:, :, None]
        self._across = (across[:, None] + offsets)[:, None, :]

    def read(self, pictures: Tensor) -> Tensor:
        """``(n, c, side, side)``."""
        return pictures[self._rows, :, self._down, self._across].permute(0, 3, 1, 2)

    def write(self, pictures: Tensor, values: Tensor) -> None:
        pictures[self._rows, :, self._down, self._across] = values.permute(0, 2, 3, 1)


def side_length(share: float, done: float, size: tuple[int, ...]) -> int:
    """Side of the squares when a share ``done`` of the queries is spent, at least 1 pixel."""
    area = share / 2 ** sum(done > point for point in HALVINGS)
    height, width = size
    return int(min(max(1, round((area * height * width) ** 0.5)), height, width))


def bumps(side: int) -> Tensor:
    """``(side, side)`` values of norm 1: a bump in the left half, its negative in the right."""
    half = side // 2
    shape = torch.cat([_bump(side, half), -_bump(side, side - half)], 1)
    return shape / shape.norm()


def _bump(height: int, width: int) -> Tensor:
    """Concentric steps, each higher by 1 over the square of its distance from the middle."""
    levels = height // 2
    down = (torch.arange(height) - levels).abs()
    across = (torch.arange(width) - width // 2).abs()
    ring = levels - torch.maximum(down[:, None], across[None, :])
    heights = (1.0 / (levels + 1 - torch.arange(levels + 1)) ** 2).cumsum(0)
    return torch.where(ring >= 0, heights[ring.clamp(min=0)], 0.0)


def _unit(values: Tensor) -> Tensor:
    return values / values.square().sum((2, 3), keepdim=True).sqrt().clamp(min=1e-12)


def _signs(shape: tuple[int, ...], like: Tensor) -> Tensor:
    # Drawn on the CPU, as all here: the same numbers on every device.
    return (torch.randint(0, 2, shape) * 2 - 1).to(like)


def _windows(
    n: int, side: int, height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Upper left corners ``(n,)``, ``(n,)`` of squares that lie inside the picture."""
    down = torch.randint(0, height - side + 1, (n,))
    across = torch.randint(0, width - side + 1, (n,))
    return down.to(device), across.to(device)


def _mask(first: Tensor, side: int, size: int) -> Tensor:
    """``(n, size)`` whether an index is among the ``side`` from ``first`` on."""
    index = torch.arange(size, device=first.device)
    return (index >= first[:, None]) & (index < first[:, None] + side)
