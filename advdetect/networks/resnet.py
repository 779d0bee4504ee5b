"""A small residual network with ReLU."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advdetect.networks.layers import Normalize, conv_bn


class Block(nn.Module):
    """Two convolutions beside a shortcut; every ReLU is a module of its own."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(inputs, outputs, stride=stride)
        self.relu1 = nn.ReLU()
        self.conv2 = conv_bn(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, kernel=1, stride=stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu1(self.conv1(x))
        return self.relu2(self.conv2(inner) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, then stages that halve the picture and double the width, then class logits.

    Args:
        mean: Pixel mean of each channel; its length is the number of channels.
        std: Pixel standard deviation of each channel.
        classes: Number of logits.
        width: Channels of the stem and of the first stage.
        blocks: Residual blocks in each stage.
        stride: Of the stem; 2 asks for a quarter of the work.

    Source:
        He et al. 2016, arXiv:1512.03385, section 4.2 (the shape, at a smaller size).
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        classes: int = 10,
        width: int = 16,
        blocks: Sequence[int] = (1, 1, 1),
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.stem = conv_bn(len(mean), width, stride=stride)
        self.relu = nn.ReLU()
        self.stages = nn.Sequential()
        inputs = width
        for stage, depth in enumerate(blocks):
            outputs = width * 2**stage
            layers = nn.Sequential()
            for i in range(depth):
                layers.append(Block(inputs, outputs, stride=2 if stage and i == 0 else 1))
                inputs = outputs
            self.stages.append(layers)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(n, classes)`` logits of ``(n, c, h, w)`` pixels in [0, 1]."""
        x = self.stages(self.relu(self.stem(self.normalize(images))))
        return self.classifier(torch.mean(x, dim=(2, 3)))
