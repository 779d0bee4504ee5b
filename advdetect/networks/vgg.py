"""A small plain network with ReLU, of the same size as the small ResNet."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advdetect.networks.layers import Normalize, conv_bn


class VGG(nn.Module):
    """Convolution, BatchNorm and ReLU in a row, a pooling between stages, then class logits.

    Args:
        mean: Pixel mean of each channel; its length is the number of channels.
        std: Pixel standard deviation of each channel.
        classes: Number of logits.
        width: Channels of the first stage; every stage doubles it.
        convolutions: Convolutions in each stage.

    Source:
        Simonyan & Zisserman 2015, arXiv:1409.1556, Table 1 (the shape, at a smaller size).
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        classes: int = 10,
        width: int = 16,
        convolutions: Sequence[int] = (2, 2, 3),
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.stages = nn.Sequential()
        inputs = len(mean)
        for stage, depth in enumerate(convolutions):
            layers = nn.Sequential()
            if stage:
                layers.append(nn.MaxPool2d(2))
            for _ in range(depth):
                layers.extend([conv_bn(inputs, width * 2**stage), nn.ReLU()])
                inputs = width * 2**stage
            self.stages.append(layers)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(n, classes)`` logits of ``(n, c, h, w)`` pixels in [0, 1]."""
        return self.classifier(torch.mean(self.stages(self.normalize(images)), dim=(2, 3)))
