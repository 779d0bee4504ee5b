"""A model as it should be while it is attacked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and parameters without gradients inside; both as before afterwards.

    A gradient with respect to the images fills those of the parameters as well, at the price of
    a third pass, unless they are frozen.
    """
    training = {module: module.training for module in model.modules()}
    needed = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in needed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in needed:
            parameter.requires_grad_(True)
        for module, mode in training.items():
            module.training = mode


@contextmanager
def channels_last(model: nn.Module, images: Tensor) -> Iterator[None]:
    """On a CPU, convolutions' weights with channels last inside; as before afterwards.

    Convolutions and their gradients take a quarter less time so. A model that looks at how its
    features lie in memory (``view`` after a convolution does) is left as it is.

    Args:
        model: Frozen classifier.
        images: ``(n, c, h, w)`` pixels to try it with.
    """
    kernels = [p for p in model.parameters() if p.ndim == 4 and p.is_contiguous()]
    if not kernels or images.device.type != "cpu":
        yield
        return
    before = [kernel.data for kernel in kernels]
    try:
        for kernel in kernels:
            kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
        try:
            # What a convolution gives for two images lies as it does for more.
            with torch.no_grad(), torch.random.fork_rng([]):
                model(images[:2])
        except RuntimeError:
            _put_back(kernels, before)
        yield
    finally:
        _put_back(kernels, before)


def _put_back(kernels: list[nn.Parameter], before: list[Tensor]) -> None:
    for kernel, data in zip(kernels, before, strict=True):
        kernel.data = data
