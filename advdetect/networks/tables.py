"""The networks that a model card may name."""

from collections.abc import Callable, Mapping

from torch import nn

from advdetect.networks.resnet import ResNet
from advdetect.networks.tiny10 import Tiny10
from advdetect.networks.vgg import VGG

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet": ResNet,
    "tiny-10": Tiny10,
    "vgg": VGG,
}
