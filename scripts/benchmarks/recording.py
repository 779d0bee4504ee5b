"""What ``record`` adds to a forward pass."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from advdetect import vision
from advdetect.features import record
from benchmarks.comparing import Rival, Row, Scope, compare


def recorded_passes(scope: Scope) -> Iterator[Row]:
    """A forward pass under ``record``, its block included, against a plain one."""
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for name in ("resnet18", "vgg11_bn", "mobilenet_v2", "convnext_tiny", "vit_b_16"):
        model = vision.model(name)
        ours, rival = (
            partial(recorded, model, images),
            Rival("plain", partial(plain, model, images)),
        )
        yield from compare(scope, f"{name}, 224 px", ours, [rival], repetitions=40)


def plain(model: nn.Module, images: Tensor) -> Tensor:
    """A pass and nothing else."""
    with torch.no_grad():
        return model(images)


def recorded(model: nn.Module, images: Tensor) -> Tensor:
    """A pass whose pre-activations are kept."""
    with torch.no_grad(), record(model):
        return model(images)
