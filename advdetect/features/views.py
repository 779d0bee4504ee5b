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


def mirror_back(maps: Tensor) -> Tensor:
    """Turn features of mirrored pictures around, so that each is where its place was.

    Maps are ``(n, channels, height, width)``; or ``(n, height, width, channels)`` where height and
    width are one number above 1, and channels another; or ``(n, tokens, channels)`` where tokens
    are those of a square grid, behind ``EXTRA`` others. All else stays, vectors among it.
    """
    if maps.ndim == 4:
        channels_last = 1 < maps.shape[1] == maps.shape[2] != maps.shape[3]
        return maps.flip(2 if channels_last else 3)
    if maps.ndim == 3:
        for extra in EXTRA:
            side = math.isqrt(max(0, maps.shape[1] - extra))
            if side > 1 and side**2 + extra == maps.shape[1]:
                others, grid = maps.split((extra, side**2), dim=1)
                turned = grid.unflatten(1, (side, side)).flip(2).flatten(1, 2)
                return torch.cat([others, turned], dim=1)
    return maps


def leave(images: Tensor) -> Tensor:
    """Change nothing."""
    return images


@dataclass(frozen=True)
class Look:
    """Another look at a picture.

    Attributes:
        change: Of the pictures; keeps their class.
        back: Of the maps of features of changed pictures: brings each place of the picture to
            where it was.
        removes_detail: The change takes away the finest detail, and leaves the rest in place.
    """

    change: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor] = leave
    removes_detail: bool = False

    def places(self, units: Tensor, shape: Sequence[int]) -> Tensor:
        """Where ``units`` of a map of features lie in the map of a changed picture.

        Args:
            units: ``(k,)`` numbers in the flat map.
            shape: Of the map of one picture.
        """
        if self.back is leave:
            return units
        numbers = torch.arange(math.prod(shape), device=units.device).reshape(1, *shape)
        return self.back(numbers).flatten()[units]


VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {"fewer_levels": fewer_levels, "median": median}
PLAIN = Look(leave)
LOOKS: Mapping[str, Look] = {
    "mirrored": Look(mirror, mirror_back),
    "smoothed": Look(smooth, removes_detail=True),
    "denoised": Look(denoise, removes_detail=True),
}
