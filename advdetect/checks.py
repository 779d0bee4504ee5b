"""Argument checks that several modules share. Each raises an error or passes."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from advdetect.errors import InputError, ModelError

Value = TypeVar("Value")


def pick(table: Mapping[str, Value], name: str, kind: str) -> Value:
    """Return ``table[name]``, or say which names there are."""
    if name not in table:
        raise InputError(f"no {kind} named {name!r}, choose from: {', '.join(table)}")
    return table[name]


def check_paired_rows(x: Tensor, y: Tensor, *, at_least: int = 2) -> None:
    """Require two finite float matrices on one device whose rows describe the same inputs."""
    if x.device != y.device:
        raise InputError(f"both must be on one device, got {x.device} and {y.device}")
    for matrix in (x, y):
        if matrix.ndim != 2:
            raise InputError(
                f"expected two (n, d) matrices, got {tuple(x.shape)} and {tuple(y.shape)}"
            )
        if not matrix.is_floating_point():
            raise InputError(f"expected floating-point features, got {matrix.dtype}: use .float()")
        if not torch.isfinite(matrix).all():
            raise InputError("features must be finite, got NaN or infinity")
    if len(x) != len(y):
        raise InputError(f"rows must pair up, got {len(x)} and {len(y)}")
    if len(x) < at_least:
        raise InputError(f"needs at least {at_least} rows, got {len(x)}")


def check_images(images: Tensor, *, shape: tuple[int, int, int] | None = None) -> None:
    """Require ``(n, c, h, w)`` finite float pixels in [0, 1], of ``shape`` (c, h, w) if given."""
    if not isinstance(images, Tensor):
        raise InputError(f"expected images as a torch.Tensor, got {type(images).__name__}")
    if images.ndim != 4:
        raise InputError(f"expected images of shape (n, c, h, w), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise InputError(
            f"expected float pixels in [0, 1], got {images.dtype}: divide 8-bit pixels by 255"
        )
    if shape is not None and tuple(images.shape[1:]) != shape:
        raise InputError(
            f"expected images of shape {shape} (channels, height, width), "
            f"got {tuple(images.shape[1:])}"
        )
    if len(images) == 0:
        raise InputError("expected at least one image, got none")
    if images.numel() == 0:
        raise InputError(f"expected images with pixels, got shape {tuple(images.shape)}")
    if not torch.isfinite(images).all():
        raise InputError("pixels must be finite, got NaN or infinity")
    low, high = images.min().item(), images.max().item()
    if low < 0 or high > 1:
        raise InputError(
            f"pixels must lie in [0, 1], got [{low:.4g}, {high:.4g}]: give the model raw pixels, "
            "its normalisation belongs inside it"
        )


def check_logits(logits: object, name: str = "the model") -> None:
    """Require ``(n, classes)`` of a model that tells at least two classes apart.

    Raises:
        ModelError: it is something else.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"expected {name} to return (n, classes) logits, got {got}")
    if logits.shape[1] < 2:
        raise ModelError(f"expected logits of {name} for at least 2 classes, got 1")


def check_labels(labels: Tensor, n: int, classes: int | None = None) -> None:
    """Require ``n`` integer labels from 0 to ``classes - 1``."""
    if not isinstance(labels, Tensor):
        raise InputError(f"expected labels as a torch.Tensor, got {type(labels).__name__}")
    if labels.ndim != 1 or len(labels) != n:
        raise InputError(f"expected {n} labels, one per image, got shape {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"expected integer labels, got {labels.dtype}")
    if n and (labels.min() < 0 or (classes is not None and labels.max() >= classes)):
        top = "" if classes is None else f" to {classes - 1}"
        raise InputError(
            f"labels must run from 0{top}, got {labels.min().item()} to {labels.max().item()}"
        )
