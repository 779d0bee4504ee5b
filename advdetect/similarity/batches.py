"""Measures over more inputs than one of their matrices could hold, batch by batch."""

from collections.abc import Callable
from typing import Protocol, Self, final

import torch
from torch import Tensor

from advdetect.errors import InputError


class OverBatches(Protocol):
    """Adds up what batches say; ``MinibatchCKA`` and ``MeanOverBatches`` are two."""

    def update(self, x: Tensor, y: Tensor) -> Self:
        """Add a batch, ``(n, p)`` and ``(n, q)``, rows paired."""
        ...

    def compute(self) -> Tensor:
        """Return the similarity over all batches so far, a scalar."""
        ...


@final
class MeanOverBatches:
    """Mean of a measure over batches of equal size.

    Traps: of a biased measure the mean keeps the bias of one batch, so that it falls as batches
    grow; compare means of equal batches only.

    Args:
        measure: A measure of two ``(n, p)`` and ``(n, q)`` matrices.
        symmetric: False for a measure that depends on the order of its arguments; the mean of
            both orders is taken.
    """

    def __init__(
        self, measure: Callable[[Tensor, Tensor], Tensor], *, symmetric: bool = True
    ) -> None:
        self._measure = measure
        self._symmetric = symmetric
        self._total = torch.zeros((), dtype=torch.float64)
        self._batches = 0

    def update(self, x: Tensor, y: Tensor) -> Self:
        """Add a batch."""
        value = self._measure(x, y)
        if not self._symmetric:
            value = (value + self._measure(y, x)) / 2
        self._total += value.detach().double().cpu()
        self._batches += 1
        return self

    def compute(self) -> Tensor:
        """Return the mean, a float64 scalar."""
        if self._batches == 0:
            raise InputError("no batch yet: call update(x, y) first")
        return self._total / self._batches


def in_fewer_columns(x: Tensor) -> Tensor:
    """Rotate wide features into as many columns as there are rows, so that nothing is lost.

    All inner products of rows, so all distances and angles, stay as they are: every measure
    that a rotation does not change gives the same on the result, at a fraction of the cost.

    Args:
        x: ``(n, p)``.

    Returns:
        ``(n, min(n, p))``. A QR decomposition of the transpose, O(n^2 p), which loses no digits
        as a decomposition of the Gram matrix would.
    """
    if x.shape[1] <= len(x):
        return x
    return torch.linalg.qr(x.T, mode="r").R.T.contiguous()
