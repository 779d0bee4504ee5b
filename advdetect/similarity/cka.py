"""Centred kernel alignment: similarity up to rotation, shift and one overall scale."""

from typing import Self, final

import torch
from torch import Tensor

from advdetect.errors import InputError
from advdetect.similarity.gram import (
    centred,
    cosine,
    distances,
    double_centred,
    inner,
    paired,
    standardised,
    u_centred,
)


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Cosine between the centred Gram matrices of two representations.

    1 when ``y`` is ``x`` rotated, shifted or scaled as a whole; 0 when no feature of one
    varies with any feature of the other, or when either side is constant. Biased upwards
    when rows are few: independent Gaussian features score 0.80 at n = 128 and p = 512,
    where ``unbiased_linear_cka`` scores 0.00. It does see invertible linear maps.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [0, 1], differentiable. Takes O(n^2 (p + q)) time over Gram matrices or
        O(n (p^2 + q^2 + p q)) over features, whichever is less.

    Raises:
        InputError: the rows do not pair up, or there are fewer than two.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, Table 1.
    """
    x, y = (standardised(z) for z in paired(x, y))
    if _features_are_cheaper(x, y):
        return cosine(*(inner(product, product) for product in (x.T @ y, x.T @ x, y.T @ y)))
    return _alignment(x @ x.T, y @ y.T)


def unbiased_linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear CKA from unbiased estimates of the three HSIC terms.

    1 and the blind spots are those of ``linear_cka``; independent features score about 0
    at any n, so that it may be negative and compares across sample sizes.

    Args:
        x: ``(n, p)`` activations, at least 4 rows.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [-1, 1], differentiable, at the cost of ``linear_cka``.

    Raises:
        InputError: the rows do not pair up, or there are fewer than four.

    Source:
        Song et al. 2012, JMLR 13, Eq. 5; as a correlation Kornblith et al. 2019.
    """
    x, y = (standardised(z) for z in paired(x, y, at_least=4))
    if _features_are_cheaper(x, y):
        return cosine(_unbiased_term(x, y), _unbiased_term(x, x), _unbiased_term(y, y))
    return _alignment(u_centred(x @ x.T), u_centred(y @ y.T))


def rbf_cka(x: Tensor, y: Tensor, bandwidth: float = 1.0) -> Tensor:
    """CKA of Gaussian kernels, which count near inputs alone.

    1 and the blind spots are those of ``linear_cka``, which it approaches as the bandwidth
    grows; 0 when either side is constant.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.
        bandwidth: Standard deviation of the kernel, as a fraction of the median distance
            over all n x n pairs, an input with itself included, as in the authors' code.

    Returns:
        Scalar in [0, 1], differentiable. Takes O(n^2 (p + q)) time and O(n^2) memory.

    Raises:
        InputError: the rows do not pair up, there are fewer than two, or the bandwidth is
            not positive.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, section 3.
    """
    if not bandwidth > 0:
        raise InputError(f"bandwidth must be positive, got {bandwidth}")
    kernels = [double_centred(gaussian_kernel(z, bandwidth)) for z in paired(x, y)]
    return _alignment(*kernels)


def gaussian_kernel(x: Tensor, bandwidth: float = 1.0) -> Tensor:
    """``(n, n)`` Gaussian kernel, its width the given fraction of the median distance."""
    squared = distances(standardised(x), exponent=2)
    median = _median(squared)
    # A median of 0, most inputs being the same, leaves the distances as they are.
    scale = 2 * bandwidth**2 * torch.where(median > 0, median, 1)
    return (-squared / scale).exp()


@final
class MinibatchCKA:
    """Unbiased linear CKA over batches, of inputs too many for one Gram matrix.

    It averages the unbiased HSIC terms of the batches, then takes their ratio, so that the
    result does not depend on the size of batches but for noise. Nothing is differentiated.

    Attributes:
        totals: ``(4,)`` float64 sums of the terms xy, xx and yy, and the count of batches.
            Add them up over processes, for example by ``torch.distributed.all_reduce``.

    Source:
        Nguyen et al. 2021, arXiv:2010.15327, Eq. 2 and 3.
    """

    def __init__(self) -> None:
        self.totals = torch.zeros(4, dtype=torch.float64)

    def update(self, x: Tensor, y: Tensor) -> Self:
        """Add a batch, ``(n, p)`` and ``(n, q)`` with at least 4 rows, 256 in the paper."""
        x, y = (centred(z.detach()) for z in paired(x, y, at_least=4))
        gram_x, gram_y = (u_centred(z @ z.T) for z in (x, y))
        n = len(x)
        pairs = ((gram_x, gram_y), (gram_x, gram_x), (gram_y, gram_y))
        terms = [inner(a, b).item() / (n * (n - 3)) for a, b in pairs]
        self.totals += torch.tensor([*terms, 1.0], dtype=torch.float64)
        return self

    def merge(self, other: "MinibatchCKA") -> Self:
        """Add another's batches, seen by another process say."""
        self.totals += other.totals
        return self

    def compute(self) -> Tensor:
        """Return the CKA of all batches so far, a float64 scalar near [0, 1], on the CPU."""
        if self.totals[3] == 0:
            raise InputError("no batch yet: call update(x, y) first")
        return cosine(*self.totals[:3])


def _features_are_cheaper(x: Tensor, y: Tensor) -> bool:
    n, p, q = len(x), x.shape[1], y.shape[1]
    return p * p + q * q + p * q < n * (p + q)


def _alignment(kernel_x: Tensor, kernel_y: Tensor) -> Tensor:
    return cosine(inner(kernel_x, kernel_y), inner(kernel_x, kernel_x), inner(kernel_y, kernel_y))


def _unbiased_term(x: Tensor, y: Tensor) -> Tensor:
    """``n (n - 3)`` times the unbiased HSIC, over features: the diagonal's part is taken out."""
    n = len(x)
    square_x, square_y = x.square().sum(1), y.square().sum(1)
    product = x.T @ y
    diagonal = square_x @ square_y * n / (n - 2)
    return (
        inner(product, product) - diagonal + square_x.sum() * square_y.sum() / ((n - 1) * (n - 2))
    )


def _median(values: Tensor) -> Tensor:
    """Median with the two middle values averaged: torch takes the lower of them."""
    flat = values.flatten()
    middle = flat.numel() // 2
    upper = flat.kthvalue(middle + 1).values
    return upper if flat.numel() % 2 else (upper + flat.kthvalue(middle).values) / 2
