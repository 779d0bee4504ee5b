"""Pixels as picture files in memory."""

import io

import numpy as np
from PIL import Image


def encode(image, kind="PNG"):
    """Pixels ``(1, h, w)`` or ``(3, h, w)`` in [0, 1] as a picture's bytes."""
    array = (np.asarray(image) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, 2))
    picture.save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()
