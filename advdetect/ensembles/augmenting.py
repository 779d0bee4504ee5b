"""Random changes of training pictures that keep their class."""

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(
    images: Tensor, generator: torch.Generator, *, shift: int, mirror: bool, noise: float
) -> Tensor:
    """Mirror half of the pictures, move each a little, and add a little Gaussian noise.

    Noise of a random deviation keeps a network's bits calm where only noise was added: a
    detector should not fire on it.

    Args:
        images: ``(n, c, h, w)`` pixels, on the CPU.
        generator: Draws everything.
        shift: Pictures are moved by up to so many pixels; black moves in.
        mirror: Whether half of them are mirrored.
        noise: Largest deviation.
    """
    n, channels, height, width = images.shape
    # All is drawn whether it is asked for or not: one option does not change what others draw.
    mirrored = (torch.rand(n, generator=generator) < 0.5) & mirror
    down, right = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=generator)
    deviation = noise * torch.rand(n, 1, 1, 1, generator=generator)
    drawn = torch.randn(images.shape, generator=generator)
    images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    if shift:
        y = (down + torch.arange(height)).view(n, 1, height, 1)
        x = (right + torch.arange(width)).view(n, 1, 1, width)
        channel = torch.arange(channels).view(1, -1, 1, 1)
        images = F.pad(images, (shift,) * 4)[torch.arange(n).view(n, 1, 1, 1), channel, y, x]
    return (images + deviation * drawn).clamp(0, 1)
