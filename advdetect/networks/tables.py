"""The networks that a model card may name."""

from collections.abc import Callable, Mapping

from torch import nn

from advdetect.networks.pooled_resnet import PooledResNet
from advdetect.networks.resnet import ResNet
from advdetect.networks.tiny10 import Tiny10
from advdetect.networks.vgg import VGG

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet": ResNet,
    "pooled-resnet": PooledResNet,
    "tiny-10": Tiny10,
    "vgg": VGG,
}
