"""Pixels as pictures that a page can show."""

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor


def png(image: Tensor) -> bytes:
    """Encode ``(c, h, w)`` pixels in [0, 1], of one channel or three, in 8 bits."""
    array = (image.detach().cpu() * 255).round().clamp(0, 255).numpy().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, 2)).save(file, "PNG")
    return file.getvalue()


def data_url(image: Tensor) -> str:
    """The same in a URL of its own, so that a page needs no second request for it."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
