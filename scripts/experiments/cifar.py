"""The pictures and networks of the experiments on CIFAR-10."""

from dataclasses import replace
from pathlib import Path

import train_models
from torch import nn

from advdetect import data
from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.networks import load_model


def cifar_images(data_root: Path | None, limit: int) -> ImageSet:
    """Test pictures of CIFAR-10 (JPEG), the first of a seeded order."""
    return named(data.load(given(data_root), split="test", limit=limit))


def test_splits(data_root: Path | None) -> dict[str, ImageSet]:
    """Reference, calibration and evaluation pictures, of the test pictures alone.

    A network that was trained on the others has seen none of these.
    """
    folder = given(data_root) / "test"
    return {split: named(data.load(folder, split=split)) for split in data.SPLITS[:3]}


def named(images: ImageSet) -> ImageSet:
    """The pictures by their data's name, wherever the folder lies."""
    return replace(images, name=train_models.CIFAR)


def given(data_root: Path | None) -> Path:
    """The image folder, which has to be named."""
    if data_root is None:
        raise InputError("give the image folder of CIFAR-10 (train/, test/) with --data-root")
    return data_root


def trained(family: str, out: Path, data_root: Path | None) -> dict[str, nn.Module]:
    """A family's networks by name, trained into ``out`` where they are not there yet."""
    found: dict[str, nn.Module] = {}
    for name in train_models.models(family):
        train_models.train(name, out, data_root)
        found[name] = load_model(str(out / name)).module
    return found
