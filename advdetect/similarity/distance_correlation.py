"""Distance correlation: 0 for independent variables alone, and partial forms of it.

Throughout ``exponent`` is the power to which Euclidean distances are raised, above 0 and at
most 2; with 2 squared distance correlation is linear CKA, and only linear dependence counts.
All take O(n^2 (p + q)) time, and O(n) memory beside the features: distances are summed up tile
by tile. A gradient holds them all, O(n^2).
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from advdetect.similarity.distance_covariance import centred_products
from advdetect.similarity.gram import cosine


def distance_correlation(x: Tensor, y: Tensor, *, exponent: float = 1.0) -> Tensor:
    """Distance correlation, the root of ``squared_distance_correlation``.

    Args:
        x: ``(n, p)`` features.
        y: ``(n, q)`` features of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Scalar in [0, 1], differentiable; where it is 0 its gradient is taken as 0.

    Raises:
        InputError: the rows do not pair up, there are fewer than two, or the exponent is
            out of bounds.

    Source:
        Szekely, Rizzo and Bakirov 2007, arXiv:0803.4101, Definition 3.
    """
    squared = squared_distance_correlation(x, y, exponent=exponent)
    present = squared > 0
    return torch.where(present, torch.where(present, squared, 1).sqrt(), 0)


def squared_distance_correlation(x: Tensor, y: Tensor, *, exponent: float = 1.0) -> Tensor:
    """Cosine between the centred distance matrices of two sets of features.

    1 when ``y`` is ``x`` rotated, shifted or scaled as a whole; 0 when either is constant.
    Biased upwards, and badly, when features are many: independent Gaussian features score
    0.94 at n = 128 and p = 512, where the unbiased form scores 0.00.

    Args:
        x: ``(n, p)`` features.
        y: ``(n, q)`` features of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Scalar in [0, 1], differentiable. Takes O(n^2 (p + q)) time.

    Raises:
        InputError: the rows do not pair up, there are fewer than two, or the exponent is
            out of bounds.

    Source:
        Szekely, Rizzo and Bakirov 2007, arXiv:0803.4101; Zhen et al. 2022,
        arXiv:2207.09684, Definition 1.
    """
    products = centred_products([x, y], exponent, unbiased=False)
    return cosine(products[0, 1], products[0, 0], products[1, 1])


def unbiased_squared_distance_correlation(x: Tensor, y: Tensor, *, exponent: float = 1.0) -> Tensor:
    """Squared distance correlation from unbiased estimates: about 0 for independent features.

    Args:
        x: ``(n, p)`` features, at least 4 rows.
        y: ``(n, q)`` features of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Scalar in [-1, 1], differentiable; 0 when all distances of one side are equal.

    Raises:
        InputError: the rows do not pair up, there are fewer than four, or the exponent is
            out of bounds.

    Source:
        Szekely and Rizzo 2014, arXiv:1310.2926, Definitions 2 and 3.
    """
    return _correlations([x, y], exponent)[0, 1]


def partial_distance_correlation(
    x: Tensor, y: Tensor, z: Tensor, *, exponent: float = 1.0
) -> Tensor:
    """What two sets of features share beyond a third, which is taken out of both.

    Without variation in ``z`` it is ``unbiased_squared_distance_correlation(x, y)``; 0 when
    nothing of ``x`` or of ``y`` is left. 0 is not the same as conditional independence.

    Args:
        x: ``(n, p)`` features, at least 4 rows.
        y: ``(n, q)`` features of the same inputs in the same order.
        z: ``(n, r)`` features to take out, of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Scalar in [-1, 1], differentiable.

    Raises:
        InputError: the rows do not pair up, there are fewer than four, or the exponent is
            out of bounds.

    Source:
        Szekely and Rizzo 2014, arXiv:1310.2926, Definition 4; Zhen et al. 2022,
        arXiv:2207.09684, Definition 4.
    """
    r = _correlations([x, y, z], exponent)
    return _over_remainder(r[0, 1] - r[0, 2] * r[1, 2], r[0, 2], r[1, 2])


def semi_partial_distance_correlation(
    x: Tensor, y: Tensor, z: Tensor, *, exponent: float = 1.0
) -> Tensor:
    """What ``x`` shares with ``y`` beyond ``z``, which is taken out of ``x`` alone.

    This, not the partial form, is what the code released with the paper on partial distance
    correlation computes, under the name of the partial form.

    Args:
        x: ``(n, p)`` features, at least 4 rows.
        y: ``(n, q)`` features of the same inputs in the same order.
        z: ``(n, r)`` features to take out of ``x``.
        exponent: Power of the distances.

    Returns:
        Scalar in [-1, 1], differentiable, of at most the partial form's magnitude.

    Raises:
        InputError: the rows do not pair up, there are fewer than four, or the exponent is
            out of bounds.

    Source:
        Code of Zhen et al. 2022, arXiv:2207.09684.
    """
    r = _correlations([x, y, z], exponent)
    return _over_remainder(r[0, 1] - r[0, 2] * r[1, 2], r[0, 2])


@final
@dataclass(frozen=True)
class IndependenceTest:
    """Outcome of a t-test of independence.

    Args:
        statistic: Student's t, with n (n - 3) / 2 - 1 degrees of freedom if independent.
        p_value: Chance of a larger statistic if independent.
    """

    statistic: float
    p_value: float


def independence_t_test(x: Tensor, y: Tensor, *, exponent: float = 1.0) -> IndependenceTest:
    """Test whether two sets of features are independent, without any permutation.

    Its distribution is exact as dimensions grow: with few features, under five or so, take a
    permutation test instead.

    Args:
        x: ``(n, p)`` features, at least 4 rows.
        y: ``(n, q)`` features of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Statistic and one-sided p-value.

    Raises:
        InputError: the rows do not pair up, there are fewer than four, or the exponent is
            out of bounds.

    Source:
        Szekely and Rizzo 2013, Journal of Multivariate Analysis 117, pages 193 to 213.
    """
    from scipy.special import stdtr

    r = _correlations([x.detach(), y.detach()], exponent)[0, 1].clamp(-1, 1).item()
    freedom = len(x) * (len(x) - 3) / 2 - 1
    statistic = r * freedom**0.5 / (1 - r * r) ** 0.5 if r * r < 1 else r * float("inf")
    return IndependenceTest(statistic, float(stdtr(freedom, -statistic)))


def _correlations(matrices: list[Tensor], exponent: float) -> Tensor:
    products = centred_products(matrices, exponent, unbiased=True)
    own = products.diagonal()
    return cosine(products, own[:, None], own)


def _over_remainder(shared: Tensor, *explained: Tensor) -> Tensor:
    """Divide by what the third variable leaves of the others; 0 where that is rounding."""
    left = torch.stack([1 - r * r for r in explained])
    present = (left > 8 * torch.finfo(left.dtype).eps).all()
    return torch.where(present, shared / torch.where(present, left, 1).prod().sqrt(), 0)
