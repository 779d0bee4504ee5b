"""Arrays of pictures: what their axes and numbers mean."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.errors import FileError, InputError

Array = NDArray[Any]

MAGIC = b"\x93NUMPY"  # how an .npy begins


def read_arrays(
    path: Path, *, required: tuple[str, ...] = ("images",), optional: tuple[str, ...] = ()
) -> dict[str, Array]:
    """Read arrays of an ``.npz``, or an ``.npy`` under the name ``images``; nothing unpickles.

    An ``.npy`` is mapped, not read: its pictures come from the disk as they are used.

    Raises:
        FileError: The file is missing, damaged, lacks a required array, or holds Python
            objects.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                names = ["images"]
                arrays = {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
            else:
                file.seek(0)
                with np.load(file, allow_pickle=False) as loaded:
                    names = loaded.files
                    wanted = [name for name in (*required, *optional) if name in names]
                    arrays = {name: loaded[name] for name in wanted}
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except Exception as error:  # a damaged file raises whatever its broken bytes meet first
        raise FileError(
            f"{path}: cannot be read as an array file (.npy or .npz of numbers)"
        ) from error
    for name in required:
        if name not in arrays:
            raise FileError(f"{path}: has no array {name!r}, it holds: {', '.join(names)}")
    return arrays


def as_batch(array: Array, shape: tuple[int, int, int] | None = None) -> Array:
    """View an array of pictures as ``(n, c, h, w)``.

    Four axes are ``(n, c, h, w)`` where the second is 1 or 3, ``(n, h, w, c)`` where the
    last is; three are grey pictures ``(n, h, w)``. Only where the shape of one picture
    is known may an array hold a single one: ``(h, w)``; ``(c, h, w)``; ``(h, w, c)`` with
    1 or as many channels as are wanted, which therefore wins over ``(n, h, w)``.

    Args:
        array: Pixels of any type.
        shape: Channels, height and width of the pictures wanted, if known. An array that
            matches them exactly is taken so, whatever the rules above say.

    Raises:
        InputError: The axes fit none of these, or two of them.
    """
    if shape is not None and array.shape == shape:
        return array[None]
    if shape is not None and array.shape[1:] == shape:
        return array
    if shape is not None and array.ndim == 2:
        return array[None, None]
    if shape is not None and array.ndim == 3 and shape[0] > 1 and len(array) == shape[0]:
        return array[None]
    if shape is not None and array.ndim == 3 and array.shape[2] in (1, shape[0]):
        return np.moveaxis(array, 2, 0)[None]
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4:
        first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
        if first and not last:
            return array
        if last and not first:
            return np.moveaxis(array, 3, 1)
    raise InputError(
        "expected pictures as (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels, "
        f"got an array of shape {array.shape}"
    )


def to_pixels(array: Array) -> Tensor:
    """Scale numbers to float32 in [0, 1] by their type; floats are taken as they are.

    Raises:
        InputError: The type is neither 8-bit, 16-bit nor float. Whether floats lie in
            [0, 1] is for the caller to check.
    """
    if array.dtype == np.uint8:
        return torch.from_numpy(array.astype(np.float32)).div_(255)
    if array.dtype == np.uint16:
        return torch.from_numpy(array.astype(np.float32)).div_(65535)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which the caller's check names
            return torch.from_numpy(array.astype(np.float32))
    raise InputError(
        f"expected pixels as uint8, uint16 or float in [0, 1], got {array.dtype}: "
        "convert them, for example with .astype('uint8')"
    )
