"""A residual network that is trained within an hour on two cores."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from advdetect.networks.layers import Normalize, conv_bn
from advdetect.networks.resnet import Block


class PooledResNet(nn.Module):
    """Stem, then stages of a convolution, max pooling and a residual block, then class logits.

    Most of the work is done by wide convolutions on small pictures, which a CPU is good at, and
    pooling comes before BatchNorm and ReLU, which then have a quarter of the values to touch.

    Args:
        mean: Pixel mean of each channel; its length is the number of channels.
        std: Pixel standard deviation of each channel.
        classes: Number of logits.
        stem: Channels of the first convolution.
        widths: Channels of each stage.

    Source:
        The order within a stage is of ResNet-9 (Page 2018, "How to train your ResNet") and of
        Jordan 2024, arXiv:2404.00498, section 3.1; sizes are our own.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        classes: int = 10,
        stem: int = 32,
        widths: Sequence[int] = (64, 256, 256),
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.stem = conv_bn(len(mean), stem)
        self.relu = nn.ReLU()
        self.stages = nn.Sequential()
        for inputs, outputs in pairwise((stem, *widths)):
            entry = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            )
            self.stages.append(nn.Sequential(entry, Block(outputs, outputs, stride=1)))
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(n, classes)`` logits of ``(n, c, h, w)`` pixels in [0, 1]."""
        x = self.stages(self.relu(self.stem(self.normalize(images))))
        # The strongest place of each channel; an eighth keeps early logits from saturating.
        return self.classifier(torch.amax(x, dim=(2, 3))) / 8
