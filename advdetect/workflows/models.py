"""Several models by name, for one set of images."""

from collections.abc import Sequence

import torch
from torch import nn

from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.networks import load_model


def load_networks(names: Sequence[str], images: ImageSet) -> dict[str, nn.Module]:
    """Load models that are to see the same images; one named again gets ``#2`` behind its name.

    Raises:
        InputError: the images have another shape than a model's card says, or than the model
            takes.
        ModelError: no such model.
        FileError: a file is missing or damaged.
    """
    found: dict[str, nn.Module] = {}
    for name in names:
        loaded = load_model(name)
        if loaded.shape not in (None, images.shape):
            raise InputError(
                f"{name} takes images of shape {loaded.shape}, {images.name} has {images.shape}: "
                "give other --data, or --resize and --channels"
            )
        try_on(images, name, loaded.module)
        again = sum(key.partition(" #")[0] == name for key in found)
        found[f"{name} #{again + 1}" if again else name] = loaded.module
    return found


def try_on(images: ImageSet, name: str, module: nn.Module) -> object:
    """Show a model a picture, and return what it says; leaves it in evaluation mode.

    Raises:
        InputError: it cannot take such pictures.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            return module.eval()(images.images[:1].to(device))
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:150]
        raise InputError(f"{name} cannot take images of shape {images.shape}: {reason}") from None
