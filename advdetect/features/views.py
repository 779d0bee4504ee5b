"""Pictures looked at otherwise: mirrored, smoothed, denoised, or with fewer grey levels."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 8  # of 3 bits
REACH = 2  # pixels that a bilateral filter looks to each side
NEAR = 1.5  # pixels: the deviation of its weights in place
EXTRA = (0, 1, 2, 5)  # tokens of no place: none, of the class, of a teacher, registers
ALIKE = 0.15  # of values in [0, 1]: the same in value; above the steps of attacks, below edges


def fewer_levels(images: Tensor) -> Tensor:
    """Round pixels to ``LEVELS`` grey levels; gradients pass as if nothing were rounded."""
    rounded = torch.round(images.detach() * (LEVELS - 1)) / (LEVELS - 1)
    return images + (rounded - images.detach())


def median(images: Tensor) -> Tensor:
    """Give each pixel the upper median of the 2 x 2 square of which it is the last."""
    padded = F.pad(images, (1, 0, 1, 0), mode="reflect")
    windows = padded.unfold(2, 2, 1).unfold(3, 2, 1).flatten(4)
    return windows.sort(dim=4).values[..., 2]


def smooth(images: Tensor) -> Tensor:
    """Blur by the 3 x 3 binomial kernel: weights 1, 2, 1 along each axis."""
    channels = images.shape[1]
    line = torch.tensor([0.25, 0.5, 0.25], dtype=images.dtype, device=images.device)
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)


def denoise(images: Tensor) -> Tensor:
    """Smooth ``(n, c, h, w)`` pixels but for edges, by a bilateral filter of 5 x 5 pixels.

    Each pixel becomes the mean of those around it, weighted by Gaussians of how far they are and
    of how far their channels differ from its own, in the root of the mean square.

    Source:
        Tomasi & Manduchi 1998, doi:10.1109/ICCV.1998.710815.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (REACH,) * 4, mode="replicate")
    total, weights = torch.zeros_like(images), torch.zeros_like(images[:, :1])
    for down, across in product(range(2 * REACH + 1), repeat=2):
        moved = padded[..., down : down + height, across : across + width]
        far = ((down - REACH) ** 2 + (across - REACH) ** 2) / NEAR**2
        differ = (moved - images).square().mean(1, keepdim=True) / ALIKE**2
        weight = torch.exp(-(far + differ) / 2)
        total, weights = total + weight * moved, weights + weight
    return total / weights


def mirror(images: Tensor) -> Tensor:
    """Turn the last axis of pictures around."""
    return images.flip(3)


def mirrored_places(units: Tensor, shape: Sequence[int]) -> Tensor:
    """Where units of a map of features lie in the map of the mirrored picture.

    Maps of one picture are ``(channels, height, width)``; or ``(height, width, channels)`` where
    height and width are one number above 1, and channels another; or ``(tokens, channels)`` where
    tokens are those of a square grid, behind ``EXTRA`` others. In all else, vectors among it, units
    stay where they are.

    Args:
        units: ``(k,)`` numbers in the flat map.
        shape: Of the map of one picture.
    """
    first, width, step = 0, 1, 1  # units before the grid, places in a row of it, units a place
    if len(shape) == 3:
        channels_last = 1 < shape[0] == shape[1] != shape[2]
        width, step = (shape[1], shape[2]) if channels_last else (shape[2], 1)
    elif len(shape) == 2:
        for extra in EXTRA:
            side = math.isqrt(max(0, shape[0] - extra))
            if side > 1 and side**2 + extra == shape[0]:
                first, width, step = extra * shape[1], side, shape[1]
                break
    if width == 1:
        return units
    column = (units - first) // step % width
    return torch.where(units < first, units, units + (width - 1 - 2 * column) * step)


def leave(images: Tensor) -> Tensor:
    """Change nothing."""
    return images


def stay(units: Tensor, _shape: Sequence[int]) -> Tensor:
    """Units of a picture whose places are where they were."""
    return units


@dataclass(frozen=True)
class Look:
    """Another look at a picture.

    Attributes:
        change: Of the pictures; keeps their class.
        places: Where units of a map of features lie in the map of the changed picture, given
            their numbers and the shape of the map of one picture.
        removes_detail: The change takes away the finest detail, and leaves the rest in place.
    """

    change: Callable[[Tensor], Tensor]
    places: Callable[[Tensor, Sequence[int]], Tensor] = stay
    removes_detail: bool = False


VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {"fewer_levels": fewer_levels, "median": median}
PLAIN = Look(leave)
LOOKS: Mapping[str, Look] = {
    "mirrored": Look(mirror, mirrored_places),
    "smoothed": Look(smooth, removes_detail=True),
    "denoised": Look(denoise, removes_detail=True),
}
