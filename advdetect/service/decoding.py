"""What was submitted into pixels that the guard takes."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from advdetect.checks import check_images
from advdetect.data.arrays import as_batch, to_pixels
from advdetect.data.pictures import pixels_of
from advdetect.data.shapes import resize as resize_images
from advdetect.data.shapes import without_loss
from advdetect.errors import InputError
from advdetect.service.bodies import Submitted
from advdetect.service.refusals import Refused

Shape = tuple[int, int, int]


def decode(submitted: Submitted, shape: Shape, *, resize: bool, max_pixels: int) -> Tensor:
    """Decode one input into ``(c, h, w)`` float32 pixels in [0, 1] of ``shape``.

    A picture's size is read, and judged, before any of its pixels is decoded.

    Raises:
        Refused: what is wrong with it.
    """
    if submitted.refused is not None:
        raise submitted.refused
    try:
        if submitted.picture is None:
            image = from_numbers(submitted.pixels, shape)
        else:
            image = _picture(submitted, shape, resize, max_pixels)
        check_images(image[None])
        image = without_loss(image, shape[0])
    except InputError as error:
        raise Refused(422, "pixels", str(error)) from None
    if resize and image.shape[1:] != shape[1:]:
        image = resize_images(image[None], shape[1:])[0]
    _check_size(image.shape[1], image.shape[2], shape)
    return image


def from_numbers(numbers: Any, shape: Shape) -> Tensor:
    """Turn nested lists of numbers in [0, 1] into pixels ``(c, h, w)``.

    Raises:
        Refused: no numbers, or not as many in each row.
        InputError: the axes are no picture's.
    """
    try:
        array = np.array(numbers)
    except (ValueError, OverflowError, RecursionError):
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        raise Refused(422, "pixels", "expected nested lists of numbers, each row of one length")
    with np.errstate(over="ignore"):  # becomes infinite, which the check of pixels names
        batch = as_batch(array.astype(np.float32), shape)
    if len(batch) != 1:
        raise Refused(422, "pixels", f"expected one picture, got {len(batch)}")
    return to_pixels(batch[0])


def _picture(submitted: Submitted, shape: Shape, resize: bool, max_pixels: int) -> Tensor:
    content = submitted.picture or b""
    try:
        with Image.open(BytesIO(content), formats=submitted.formats) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise Refused(
                    413, "too-many-pixels", f"a picture may have {max_pixels} pixels at most"
                )
            if not resize:
                _check_size(height, width, shape)
            return pixels_of(picture)
    except Refused:
        raise
    except UnidentifiedImageError:
        raise Refused(
            422, "format", f"no picture of the format expected ({', '.join(submitted.formats)})"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Refused(
            413, "too-many-pixels", f"a picture may have {max_pixels} pixels at most"
        ) from None
    except Exception:  # decoders raise whatever the broken bytes meet first
        raise Refused(422, "damaged", "the picture is damaged or cut off") from None


def _check_size(height: int, width: int, shape: Shape) -> None:
    if (height, width) != shape[1:]:
        raise Refused(
            422,
            "size",
            f"expected {shape[1]} x {shape[2]} pixels (height x width), got {height} x {width}: "
            "ask for ?resize=true to scale it",
        )
