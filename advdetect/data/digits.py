"""Scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, which need no network."""

import numpy as np
import torch

from advdetect.data.arrays import to_pixels
from advdetect.data.splits import Source, split_rows


def open_digits() -> Source:
    """Take the digits, their 17 grey levels scaled to [0, 1]; all splits are shares."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = to_pixels(bunch.images[:, None] / 16)
    return Source(
        labels=torch.from_numpy(bunch.target.astype(np.int64)),
        classes=tuple(str(name) for name in bunch.target_names),
        splits=split_rows(torch.arange(len(pixels)), {}),
        read=lambda rows, fit: fit(pixels[rows]),
    )
