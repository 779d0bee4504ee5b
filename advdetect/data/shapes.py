"""Bring pictures to the channels and the size that were asked for."""

from torch import Tensor
from torch.nn import functional as F

from advdetect.errors import InputError

# ITU-R BT.601, as picture libraries convert to grey.
LUMA = (0.299, 0.587, 0.114)


def fit_images(images: Tensor, *, size: tuple[int, int] | None, channels: int | None) -> Tensor:
    """Convert and resize ``(n, c, h, w)`` pixels; ``None`` leaves them as they are.

    Args:
        images: Pixels in [0, 1] with 1 or 3 channels.
        size: Height and width.
        channels: 3 repeats a grey channel; 1 weighs red, green and blue into their luma.
    """
    if channels is not None and images.shape[1] != channels:
        if channels == 3:
            images = images.expand(-1, 3, -1, -1)
        else:
            weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
            images = (images * weights).sum(1, keepdim=True).clamp(0, 1)
    return images if size is None else resize(images, size)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale ``(n, c, h, w)`` pixels bilinearly, with a low-pass filter where they shrink."""
    if tuple(images.shape[2:]) == size:
        return images
    scaled = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    return scaled.clamp(0, 1)


def check_wanted(size: tuple[int, int] | None, channels: int | None) -> None:
    """Require a size of two positive numbers and 1 or 3 channels, or ``None``."""
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise InputError(f"expected a size of (height, width) in pixels, got {size}")
    if channels not in (None, 1, 3):
        raise InputError(f"expected 1 channel (grey) or 3 (colour), got {channels}")


def without_loss(image: Tensor, channels: int) -> Tensor:
    """Change the channels of one ``(c, h, w)`` picture where nothing is lost by it.

    A grey picture is repeated into three channels, and a picture whose three channels
    are equal becomes grey. Every other difference is an error.
    """
    found = len(image)
    if found == channels:
        return image
    if (found, channels) == (1, 3):
        return image.expand(3, -1, -1)
    if (found, channels) == (3, 1):
        if (image[0] == image[1]).all() and (image[0] == image[2]).all():
            return image[:1]
        raise InputError("expected a grey picture, got a coloured one: convert it to grey")
    raise InputError(f"expected {channels} channels, got {found}")
