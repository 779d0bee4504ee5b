"""Canonical correlation and regression: measures to compare with, blind to linear maps.

They ask whether one representation can be read off the other linearly, which with as many
features as inputs is always so: take far more inputs than features.
"""

import torch
from torch import Tensor

from advdetect.errors import InputError
from advdetect.similarity.gram import full_rank, paired, standardised


def mean_cca(x: Tensor, y: Tensor) -> Tensor:
    """Mean canonical correlation over the directions of the smaller representation.

    1 when every direction of the smaller one is a linear function of the other, so also
    whenever features are as many as inputs; 0 when either side is constant.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [0, 1], differentiable where columns are linearly independent. Takes
        O(n (p^2 + q^2)) time.

    Raises:
        InputError: the rows do not pair up, or there are fewer than two.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, Table 1, mean CCA correlation.
    """
    return _mean(canonical_correlations(x, y))


def mean_squared_cca(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared canonical correlation: as ``mean_cca``, with weak directions weaker.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [0, 1], differentiable where columns are linearly independent.

    Raises:
        InputError: the rows do not pair up, or there are fewer than two.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, Table 1, R^2 CCA.
    """
    return _mean(canonical_correlations(x, y).square())


def svcca(x: Tensor, y: Tensor, variance: float = 0.99) -> Tensor:
    """``mean_cca`` of the principal components that hold most of the variance.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.
        variance: Share of the variance to keep, above 0 and at most 1.

    Returns:
        Scalar in [0, 1], differentiable where singular values differ.

    Raises:
        InputError: the rows do not pair up, there are fewer than two, or the share is out
            of bounds.

    Source:
        Raghu et al. 2017, arXiv:1706.05806; threshold as in Kornblith et al. 2019.
    """
    if not 0 < variance <= 1:
        raise InputError(f"variance must be above 0 and at most 1, got {variance}")
    bases = []
    for z in paired(x, y):
        left, singular, _ = torch.linalg.svd(full_rank(standardised(z)), full_matrices=False)
        held = singular.detach().square().cumsum(0)
        rounding = len(z) * torch.finfo(z.dtype).eps
        bases.append(left[:, : int((held < (variance - rounding) * held[-1:]).sum()) + 1])
    return _mean(_correlations(*bases))


def pwcca(x: Tensor, y: Tensor) -> Tensor:
    """Mean canonical correlation, weighted by how much of ``x`` each direction carries.

    Not symmetric: the weights are those of ``x``.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [0, 1], differentiable where canonical correlations differ.

    Raises:
        InputError: the rows do not pair up, or there are fewer than two.

    Source:
        Morcos et al. 2018, arXiv:1806.05759, Eq. 7.
    """
    x, y = (standardised(z) for z in paired(x, y))
    basis_x, basis_y = _basis(x), _basis(y)
    turn, correlations, _ = torch.linalg.svd(basis_x.T @ basis_y, full_matrices=False)
    weights = ((basis_x @ turn).T @ x).abs().sum(1)
    total = weights.sum()
    return (weights * correlations).sum() / torch.where(total > 0, total, 1)


def linear_regression_r2(x: Tensor, y: Tensor) -> Tensor:
    """Share of the variance of ``x`` that a linear fit from ``y`` explains.

    Not symmetric. 1 whenever ``y`` has as many independent features as there are inputs.

    Args:
        x: ``(n, p)`` activations to be explained.
        y: ``(n, q)`` activations that explain them, of the same inputs in the same order.

    Returns:
        Scalar in [0, 1], 0 where ``x`` is constant; differentiable where the columns of
        ``y`` are linearly independent.

    Raises:
        InputError: the rows do not pair up, or there are fewer than two.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414, Table 1.
    """
    x, y = (standardised(z) for z in paired(x, y))
    total = x.square().sum()
    return (_basis(y).T @ x).square().sum() / torch.where(total > 0, total, 1)


def procrustes_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Cosine between two representations after the best rotation of one onto the other.

    1 when ``y`` is ``x`` rotated, reflected, shifted or scaled as a whole; 0 when no feature
    of one varies with any of the other. Its arc cosine is a metric, ``AngularShape``.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [0, 1], differentiable. Takes O(n p q + p q min(p, q)) time.

    Raises:
        InputError: the rows do not pair up, or there are fewer than two.

    Source:
        Williams et al. 2021, arXiv:2110.14739, Eq. 5.
    """
    x, y = (standardised(z) for z in paired(x, y))
    lengths = torch.linalg.vector_norm(x) * torch.linalg.vector_norm(y)
    return _nuclear_norm(x.T @ y) / torch.where(lengths > 0, lengths, 1)


def canonical_correlations(x: Tensor, y: Tensor) -> Tensor:
    """Correlations of the paired directions in which two representations agree most.

    Args:
        x: ``(n, p)`` activations, one row per input.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        As many as the smaller of the two ranks, from the highest, each in [0, 1].

    Raises:
        InputError: the rows do not pair up, or there are fewer than two.
    """
    x, y = (standardised(z) for z in paired(x, y))
    return _correlations(_basis(x), _basis(y))


def _correlations(basis_x: Tensor, basis_y: Tensor) -> Tensor:
    return torch.linalg.svdvals(basis_x.T @ basis_y).clamp(max=1)


def _basis(x: Tensor) -> Tensor:
    """Orthonormal columns that span those of ``x``."""
    return torch.linalg.qr(full_rank(x)).Q


def _nuclear_norm(matrix: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrix).sum()


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(1, values.numel())
