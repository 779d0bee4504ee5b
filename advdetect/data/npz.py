"""An ``.npz`` of pictures and labels as a data set."""

from pathlib import Path

import numpy as np
import torch

from advdetect.checks import check_labels
from advdetect.data.arrays import as_batch, read_arrays, to_pixels
from advdetect.data.splits import Source, split_rows
from advdetect.errors import InputError


def open_npz(path: Path) -> Source:
    """Take ``images`` and ``labels``, and if there the names in ``classes``, from a file.

    ``images`` are ``(n, h, w)``, ``(n, h, w, c)`` or ``(n, c, h, w)``, as uint8, uint16
    or floats in [0, 1]; ``labels`` are ``(n,)`` integers from 0. All splits are shares.

    Raises:
        FileError: The file is missing or damaged, or lacks an array.
        InputError: The arrays have other shapes, types or ranges, or do not pair up.
    """
    arrays = read_arrays(path, required=("images", "labels"), optional=("classes",))
    try:
        batch = as_batch(arrays["images"])
        labels = _labels(arrays["labels"])
        names = arrays.get("classes")
        if names is not None and names.ndim != 1:
            raise InputError(f"expected classes as a list of names, got shape {names.shape}")
        check_labels(labels, len(batch), None if names is None else len(names))
        if not len(batch):
            raise InputError("expected pictures, got none")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if names is None:
        names = np.arange(int(labels.max()) + 1)
    return Source(
        labels=labels,
        classes=tuple(str(name) for name in names),
        splits=split_rows(torch.arange(len(labels)), {}),
        read=lambda rows, fit: fit(to_pixels(batch[rows.numpy()])),
    )


def _labels(array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind not in "iu":
        raise InputError(f"expected integer labels, got {array.dtype}")
    return torch.from_numpy(array.astype(np.int64))
