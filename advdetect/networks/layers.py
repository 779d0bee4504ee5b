"""Pieces that the networks share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Map pixels in [0, 1] to zero mean and unit deviation per channel.

    It is the first layer of every network here, so that inputs, attack budgets and
    bounds are always pixels.

    Args:
        mean: Mean of each channel, in pixels.
        std: Standard deviation of each channel, in pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def conv_bn(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int | None = None
) -> nn.Sequential:
    """A convolution, then BatchNorm.

    Without ``padding`` it keeps the picture's size (divided by ``stride``).
    """
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
    )
