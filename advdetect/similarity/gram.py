"""Matrices over pairs of inputs that several measures share, and how to centre them.

Every measure built on these ignores shifts and overall scale, so both are taken out first:
a large mean would otherwise cancel digits, and large or tiny features leave the floats' range.
"""

import torch
from torch import Tensor

from advdetect.checks import check_paired_rows


def paired(*matrices: Tensor, at_least: int = 2) -> list[Tensor]:
    """Check that rows pair up, and bring matrices to one type of at least single precision."""
    for other in matrices[1:] or matrices:
        check_paired_rows(matrices[0], other, at_least=at_least)
    common = torch.float32
    for matrix in matrices:
        common = torch.promote_types(common, matrix.dtype)
    return [matrix.to(common) for matrix in matrices]


def centred(x: Tensor) -> Tensor:
    """Subtract each column's mean; constant columns become exactly 0."""
    # Differences from the first row are exact under a large mean; the mean alone would not be.
    x = x - x[:1].detach()
    return x - x.mean(0)


def standardised(x: Tensor) -> Tensor:
    """Centre, and divide by the largest entry (a constant: results do not depend on it)."""
    x = centred(x)
    if x.numel() == 0:
        return x
    lowest, highest = torch.aminmax(x.detach())
    largest = torch.maximum(-lowest, highest)
    return x / torch.where(largest > 0, largest, 1)


def full_rank(x: Tensor) -> Tensor:
    """As many independent columns as ``x`` has, with its left singular vectors and values.

    A rotation of ``x`` without its empty directions. A gradient through it is the one
    through ``x``, and finite where ``x`` has empty directions.
    """
    _, singular, right = torch.linalg.svd(x.detach(), full_matrices=False)
    rounding = max(x.shape) * torch.finfo(x.dtype).eps * singular[:1]
    return x @ right[: int((singular > rounding).sum())].T


def distances(x: Tensor, y: Tensor | None = None, *, exponent: float = 1.0) -> Tensor:
    """Euclidean distances of all pairs of rows of centred features, to a power.

    Computed from a matrix product, and 0 where they drown in its rounding, as those of
    duplicates do; there the gradient is 0, too.
    """
    other = x if y is None else y
    square_x, square_other = x.square().sum(1), other.square().sum(1)
    total = square_x[:, None] + square_other
    squared = torch.addmm(total, x, other.T, alpha=-2)
    unseen = squared.detach() <= 8 * torch.finfo(x.dtype).eps * square_x.detach()[:, None]
    if y is None:
        unseen.fill_diagonal_(True)
    if exponent == 2:
        return squared.masked_fill(unseen, 0)
    # The root of 0 has no gradient: 1 stands in for it and goes again.
    safe = squared.masked_fill(unseen, 1)
    root = safe.sqrt() if exponent == 1 else safe.pow(exponent / 2)
    return root.masked_fill(unseen, 0)


def double_centred(matrix: Tensor) -> Tensor:
    """Subtract row and column means of a symmetric matrix: H K H."""
    mean = matrix.mean(0)
    return matrix - mean - mean[:, None] + mean.mean()


def u_centred(matrix: Tensor) -> Tensor:
    """Centre the off-diagonal part of a symmetric matrix so that inner products are unbiased.

    The diagonal is 0, and so are the sums of all rows. Needs at least 3 rows.

    Source:
        Szekely and Rizzo 2014, arXiv:1310.2926, Definition 2; with Gram matrices the inner
        products are Song's unbiased HSIC times n (n - 3).
    """
    n = len(matrix)
    itself = torch.eye(n, dtype=torch.bool, device=matrix.device)
    matrix = matrix.masked_fill(itself, 0)
    mean = matrix.sum(0) / (n - 2)
    mean = mean - mean.sum() / (2 * (n - 1))
    left = matrix - mean - mean[:, None]
    # Equal weights leave nothing, in floats a rounding that would pass for a pattern.
    rounding = 8 * torch.finfo(matrix.dtype).eps * matrix.detach().abs().max()
    return left.masked_fill(itself | (left.detach().abs() <= rounding), 0)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius inner product."""
    return (a * b).sum()


def cosine(cross: Tensor, own_x: Tensor, own_y: Tensor) -> Tensor:
    """Inner product over both lengths, given squared; 0, with gradient 0, for a length of 0."""
    present = (own_x > 0) & (own_y > 0)
    lengths = torch.where(present, own_x, 1).sqrt() * torch.where(present, own_y, 1).sqrt()
    return torch.where(present, cross / lengths, 0)
