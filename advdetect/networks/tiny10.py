"""The ten-layer network on which measures of similarity are checked."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advdetect.networks.layers import Normalize, conv_bn


class Tiny10(nn.Module):
    """Eight convolutions with BatchNorm and ReLU, a global mean, then class logits.

    Args:
        mean: Pixel mean of each channel; its length is the number of channels.
        std: Pixel standard deviation of each channel.
        classes: Number of logits.
        width: Channels of the first two convolutions; later ones have 2 and 4 times as many.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, appendix ("Tiny-10", width 16).
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        classes: int = 10,
        width: int = 16,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.layers = nn.Sequential(
            *conv_relu(len(mean), width),
            *conv_relu(width, width),
            *conv_relu(width, 2 * width, stride=2),
            *conv_relu(2 * width, 2 * width),
            *conv_relu(2 * width, 2 * width),
            *conv_relu(2 * width, 4 * width, stride=2),
            *conv_relu(4 * width, 4 * width, padding=0),
            *conv_relu(4 * width, 4 * width, kernel=1),
        )
        self.classifier = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(n, classes)`` logits of ``(n, c, h, w)`` pixels in [0, 1]."""
        return self.classifier(torch.mean(self.layers(self.normalize(images)), dim=(2, 3)))


def conv_relu(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int | None = None
) -> tuple[nn.Module, nn.Module]:
    """A convolution with BatchNorm, then a ReLU of its own."""
    layers = conv_bn(inputs, outputs, kernel=kernel, stride=stride, padding=padding)
    return layers, nn.ReLU()
