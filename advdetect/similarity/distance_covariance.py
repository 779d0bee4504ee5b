"""Distance covariance, and the tiled sums over distances that its correlation shares.

Throughout ``exponent`` is the power to which Euclidean distances are raised, above 0 and at
most 2. All take O(n^2 (p + q)) time, and O(n) memory beside the features.
"""

from itertools import combinations_with_replacement

import torch
from torch import Tensor

from advdetect.errors import InputError
from advdetect.similarity.gram import centred, distances, paired, standardised

TILE_ROWS = 512  # a tile's distances stay in the cache


def squared_distance_covariance(x: Tensor, y: Tensor, *, exponent: float = 1.0) -> Tensor:
    """Mean product of the double centred distances of two sets of features.

    At least 0, and 0 in the limit of many rows for independent features alone; it grows with
    the scale of either.

    Args:
        x: ``(n, p)`` features.
        y: ``(n, q)`` features of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Scalar, differentiable.

    Raises:
        InputError: the rows do not pair up, there are fewer than two, or the exponent is
            out of bounds.

    Source:
        Szekely, Rizzo and Bakirov 2007, arXiv:0803.4101, Eq. 2.9.
    """
    return _covariances([x, y], exponent, unbiased=False)[0, 1]


def unbiased_squared_distance_covariance(x: Tensor, y: Tensor, *, exponent: float = 1.0) -> Tensor:
    """Unbiased estimate of the squared distance covariance: negative at times.

    Args:
        x: ``(n, p)`` features, at least 4 rows.
        y: ``(n, q)`` features of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Scalar, differentiable.

    Raises:
        InputError: the rows do not pair up, there are fewer than four, or the exponent is
            out of bounds.

    Source:
        Szekely and Rizzo 2014, arXiv:1310.2926, Definitions 2 and 3.
    """
    return _covariances([x, y], exponent, unbiased=True)[0, 1]


def partial_distance_covariance(
    x: Tensor, y: Tensor, z: Tensor, *, exponent: float = 1.0
) -> Tensor:
    """Unbiased squared distance covariance after a third variable is taken out of both.

    Args:
        x: ``(n, p)`` features, at least 4 rows.
        y: ``(n, q)`` features of the same inputs in the same order.
        z: ``(n, r)`` features to take out, of the same inputs in the same order.
        exponent: Power of the distances.

    Returns:
        Scalar, differentiable.

    Raises:
        InputError: the rows do not pair up, there are fewer than four, or the exponent is
            out of bounds.

    Source:
        Szekely and Rizzo 2014, arXiv:1310.2926, Definition 4.
    """
    c = _covariances([x, y, z], exponent, unbiased=True)
    varies = c[2, 2] > 0
    return c[0, 1] - torch.where(varies, c[0, 2] * c[1, 2] / torch.where(varies, c[2, 2], 1), 0)


def _covariances(matrices: list[Tensor], exponent: float, *, unbiased: bool) -> Tensor:
    products = centred_products(matrices, exponent, unbiased=unbiased)
    n = len(matrices[0])
    largest = torch.stack([centred(z.detach()).abs().amax() for z in paired(*matrices)])
    scale = largest.to(products) ** exponent
    return products * scale.outer(scale) / (n * (n - 3) if unbiased else n * n)


def centred_products(matrices: list[Tensor], exponent: float, *, unbiased: bool) -> Tensor:
    """Inner products of the centred distance matrices of standardised features.

    They are summed up over uncentred tiles, of which symmetry spares half. Distances are
    first lowered by about their mean off the diagonal, which U-centring does not see and
    double centring allows for: in many dimensions they are all alike, and sums would cancel.

    Args:
        matrices: ``(n, p)`` features of the same inputs, ``m`` of them.
        exponent: Power of the distances, above 0 and at most 2.
        unbiased: Centre after Szekely and Rizzo 2014, else by means of rows and columns.

    Returns:
        ``(m, m)`` inner products, differentiable.
    """
    if not 0 < exponent <= 2:
        raise InputError(f"exponent must be above 0 and at most 2, got {exponent}")
    matrices = [standardised(z) for z in paired(*matrices, at_least=4 if unbiased else 2)]
    n = len(matrices[0])
    level = torch.stack([_mean_distance(z[:TILE_ROWS].detach(), exponent) for z in matrices])
    products = torch.zeros(len(matrices), len(matrices)).to(level)
    rows = torch.zeros(len(matrices), n).to(level)
    starts = range(0, n, TILE_ROWS)
    for i, j in combinations_with_replacement(starts, 2):
        left, right = slice(i, i + TILE_ROWS), slice(j, j + TILE_ROWS)
        ends = [(z[left], None if i == j else z[right]) for z in matrices]
        tiles = torch.stack([distances(*pair, exponent=exponent) for pair in ends])
        tiles = tiles - level[:, None, None]
        if i == j:
            tiles.diagonal(dim1=1, dim2=2).zero_()
        else:
            rows[:, right] += tiles.sum(1)
        rows[:, left] += tiles.sum(2)
        flat = tiles.flatten(1)
        products = products + (1 if i == j else 2) * (flat @ flat.T)
    total = rows.sum(1)
    if unbiased:
        means = 2 / (n - 2) * (rows @ rows.T) - total.outer(total) / ((n - 1) * (n - 2))
    else:
        lift = level.outer(total) / n
        means = 2 / n * (rows @ rows.T) - total.outer(total) / n**2
        means = means - lift - lift.T - (n - 1) * level.outer(level)
    products = products - means
    # Equal distances leave nothing, in floats a rounding that would pass for a pattern.
    rounding = (8 * torch.finfo(level.dtype).eps * n * level).square()
    return products.where(products.diagonal() > rounding, 0)


def _mean_distance(x: Tensor, exponent: float) -> Tensor:
    return distances(x, exponent=exponent).sum() / (len(x) * (len(x) - 1))
