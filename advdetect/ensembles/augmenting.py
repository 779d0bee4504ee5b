"""Random changes of training pictures that keep their class."""

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    shift: int,
    mirror: bool,
    noise: float,
    cutout: int = 0,
    mirrored: Tensor | None = None,
) -> Tensor:
    """Mirror half of the pictures, move each a little, add a little noise, and cover a square.

    Noise of a random deviation keeps a network's bits calm where only noise was added: a
    detector should not fire on it. A covered square keeps it from knowing pictures by heart
    (DeVries and Taylor 2017, arXiv:1708.04552; theirs has the mean colour).

    Args:
        images: ``(n, c, h, w)`` pixels, on the CPU.
        generator: Draws everything.
        shift: Pictures are moved by up to so many pixels; black moves in.
        mirror: Whether half of them are mirrored.
        noise: Largest deviation, of Gaussian noise.
        cutout: Side of the black square; its centre is anywhere, so that parts may lie outside.
        mirrored: ``(n,)`` which are mirrored, where that is not left to chance.
    """
    n, channels, height, width = images.shape
    # Cutout apart, all is drawn whether asked for or not: no option changes what others draw.
    by_chance = torch.rand(n, generator=generator) < 0.5
    turned = (by_chance if mirrored is None else mirrored) & mirror
    down, right = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=generator)
    deviation = noise * torch.rand(n, 1, 1, 1, generator=generator)
    drawn = torch.randn(images.shape, generator=generator)
    images = torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images)
    if shift:
        y = (down + torch.arange(height)).view(n, 1, height, 1)
        x = (right + torch.arange(width)).view(n, 1, 1, width)
        channel = torch.arange(channels).view(1, -1, 1, 1)
        images = F.pad(images, (shift,) * 4)[torch.arange(n).view(n, 1, 1, 1), channel, y, x]
    images = (images + deviation * drawn).clamp(0, 1)
    if not cutout:
        return images
    # Drawn where it is asked for alone: recipes without it keep their weights.
    top, left = (
        torch.randint(size, (n, 1), generator=generator) - cutout // 2 for size in (height, width)
    )
    row, column = torch.arange(height), torch.arange(width)
    rows = ((row >= top) & (row < top + cutout)).view(n, 1, height, 1)
    columns = ((column >= left) & (column < left + cutout)).view(n, 1, 1, width)
    return images.masked_fill(rows & columns, 0)
