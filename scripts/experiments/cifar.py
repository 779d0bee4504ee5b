"""The pictures and networks of the experiments on CIFAR-10."""

from pathlib import Path

import train_models
from torch import nn

from advdetect import data
from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.networks import load_model


def cifar_images(data_root: Path | None, limit: int) -> ImageSet:
    """Test pictures of CIFAR-10 (JPEG), the first of a seeded order."""
    if data_root is None:
        raise InputError("give the image folder of CIFAR-10 (train/, test/) with --data-root")
    return data.load(data_root, split="test", limit=limit)


def trained(family: str, out: Path, data_root: Path | None) -> dict[str, nn.Module]:
    """A family's networks by name, trained into ``out`` where they are not there yet."""
    found: dict[str, nn.Module] = {}
    for name in train_models.models(family):
        train_models.train(name, out, data_root)
        found[name] = load_model(str(out / name)).module
    return found
