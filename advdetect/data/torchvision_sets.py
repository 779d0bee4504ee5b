"""Torchvision's data sets: downloaded on first use, then read from disk."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from advdetect.data.arrays import Array, as_batch, to_pixels
from advdetect.data.splits import Source, split_rows
from advdetect.errors import FileError
from advdetect.vision import torchvision

# Pictures in the training part; the source index of the test part goes on from there.
TRAIN_SIZES = {"MNIST": 60_000, "CIFAR10": 50_000, "SVHN": 73_257}


def open_torchvision_set(name: str, split: str, root: Path | None) -> Source:
    """Take one part of a set: the test part is evaluation, the training part all else.

    A network trained on the training part has seen its calibration pictures:
    ``split_rows`` says what follows.

    Args:
        name: The class in ``torchvision.datasets``.
        split: The split that will be read; only its part is.
        root: Where torchvision keeps the data; a cache folder of the user if not given.

    Raises:
        FileError: The data is neither there nor can be downloaded.
    """
    test = split in ("evaluation", "test")
    pixels, targets, classes = fetch(name, root, train=not test)
    labels = torch.from_numpy(targets)
    rows = torch.arange(len(labels))
    pool, own = (rows[:0], rows) if test else (rows, rows[:0])
    return Source(
        labels=labels,
        classes=classes or tuple(str(i) for i in range(int(labels.max()) + 1)),
        splits=split_rows(pool, {"evaluation": own}),
        read=lambda rows, fit: fit(to_pixels(pixels[rows.numpy()])),
        start=TRAIN_SIZES[name] if test else 0,
    )


def fetch(name: str, root: Path | None, *, train: bool) -> tuple[Array, Array, tuple[str, ...]]:
    """Read an official part of a torchvision set; download it first where it is not there.

    Returns:
        ``(n, c, h, w)`` uint8 pixels, ``(n,)`` int64 labels, and the classes' names, if
        torchvision knows them.

    Raises:
        FileError: It cannot be downloaded, or what is there is damaged.
    """
    folder = root or cache_folder()
    dataset = getattr(torchvision().datasets, name)
    try:
        with _quiet():
            if name == "SVHN":
                data = dataset(str(folder), split="train" if train else "test", download=True)
                targets = data.labels
            else:
                data = dataset(str(folder), train=train, download=True)
                targets = data.targets
    except Exception as error:  # damaged files raise whatever their bytes meet first
        raise FileError(
            f"{name} is missing or damaged in {folder}, and cannot be downloaded: connect to a "
            "network, or give the folder that holds it (data_root=, --data-root)"
        ) from error
    pixels = as_batch(np.asarray(data.data))
    return pixels, np.asarray(targets, dtype=np.int64), tuple(getattr(data, "classes", ()))


def cache_folder() -> Path:
    """Where data is kept that nobody gave a folder for."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "advdetect", "data")


@contextmanager
def _quiet() -> Iterator[None]:
    """Show notes and progress on a terminal's standard error, and nowhere else."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        notes: TextIO = sys.stderr
        if not notes.isatty():
            notes = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stderr(notes))
        stack.enter_context(redirect_stdout(notes))
        yield
