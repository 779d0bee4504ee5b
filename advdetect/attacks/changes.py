"""What happens to pictures without any attacker: moved, blurred, stored as JPEG."""

from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from advdetect.attacks.base import Attack
from advdetect.errors import InputError
from advdetect.features.views import smooth

QUALITY = 90


class Change:
    """A change of pictures in the shape of an attack, which asks the model nothing.

    Args:
        change: From ``(n, c, h, w)`` pixels in [0, 1] to others.
    """

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self.change = change

    @property
    def distance(self) -> Any:
        """Foolbox's L2, imported late."""
        from foolbox.distances import l2

        return l2

    def run(self, model: Any, inputs: Any, criterion: Any, **kwargs: Any) -> Tensor:
        """Return the changed pictures."""
        return self.change(inputs)


def half_pixel(images: Tensor) -> Tensor:
    """Move pictures by half a pixel along both axes: each pixel is the mean of four."""
    padded = F.pad(images, (1, 0, 1, 0), mode="replicate")
    return F.avg_pool2d(padded, 2, stride=1)


def jpeg(images: Tensor) -> Tensor:
    """Round to 8 bits, store as JPEG of quality 90, and read again.

    Raises:
        InputError: pictures of neither 1 nor 3 channels.
    """
    if images.shape[1] not in (1, 3):
        raise InputError(f"JPEG holds 1 or 3 channels, got {images.shape[1]}")
    levels = (images.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    encoded = [_through_jpeg(one) for one in levels]
    pixels = torch.from_numpy(np.stack(encoded)).permute(0, 3, 1, 2).to(images.device)
    return pixels.to(images.dtype) / 255


def _through_jpeg(levels: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, Any]:
    file = BytesIO()
    Image.fromarray(levels.squeeze(2) if levels.shape[2] == 1 else levels).save(
        file, "JPEG", quality=QUALITY
    )
    return np.asarray(Image.open(file)).reshape(levels.shape)


CHANGES: Mapping[str, Attack] = {
    name: Attack("l2", "change", partial(Change, change), control=True, sizeless=True)
    for name, change in (("l2_half_pixel", half_pixel), ("l2_blur", smooth), ("l2_jpeg", jpeg))
}
