"""The geometry of a budget: sizes, random points, steepest steps, the way back inside."""

import torch
from torch import Tensor

from advdetect.attacks.base import Norm


def perturbation_size(difference: Tensor, norm: Norm) -> Tensor:
    """Return the ``(n,)`` norm of each picture's difference."""
    order = float("inf") if norm == "linf" else 2
    return torch.linalg.vector_norm(difference.flatten(1), ord=order, dim=1)


def random_point(images: Tensor, eps: float, norm: Norm, generator: torch.Generator) -> Tensor:
    """Return a random picture within ``eps`` of each ``(n, c, h, w)`` picture, in [0, 1]."""
    # Drawn on the CPU: the same numbers on every device.
    if norm == "linf":
        noise = eps * (2 * torch.rand(images.shape, generator=generator) - 1)
    else:
        noise = torch.randn(images.shape, generator=generator)
        radius = eps * torch.rand(len(images), generator=generator)
        noise *= each(radius / noise.flatten(1).norm(dim=1).clamp(min=1e-12))
    return (images + noise.to(images)).clamp(0, 1)


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the direction of unit size along which a gradient falls fastest, each picture's."""
    if norm == "linf":
        return -gradient.sign()
    size = gradient.flatten(1).norm(dim=1)
    return -gradient / each(size.clamp(min=1e-12))


def project(moved: Tensor, images: Tensor, eps: float, norm: Norm) -> Tensor:
    """Return the pictures brought back within ``eps`` of ``images`` and into [0, 1]."""
    if norm == "linf":
        return torch.minimum(torch.maximum(moved, images - eps), images + eps).clamp(0, 1)
    change = moved.clamp(0, 1) - images
    size = change.flatten(1).norm(dim=1)
    return (images + change * each((eps / size.clamp(min=1e-12)).clamp(max=1))).clamp(0, 1)


def each(values: Tensor) -> Tensor:
    """Shape ``(n,)`` values, one a picture, to go with ``(n, c, h, w)`` pictures."""
    return values.view(-1, 1, 1, 1)
