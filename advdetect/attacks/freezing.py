"""A model as it should be while it is attacked."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


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
