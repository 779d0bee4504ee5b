"""Measures taken apart, so that many representations are compared at the price of each alone.

Most measures are the cosine of two long vectors, each made of one representation: a centred
Gram matrix, a graph, ranks of distances. Layers against layers then cost one matrix product.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect.errors import InputError
from advdetect.similarity.bits import BitCodes
from advdetect.similarity.cka import gaussian_kernel
from advdetect.similarity.gram import (
    centred,
    cosine,
    distances,
    double_centred,
    paired,
    u_centred,
)
from advdetect.similarity.graphs import centred_degrees, cosine_graph, unit_rows
from advdetect.similarity.rdm import (
    above_diagonal,
    correlation_rdm,
    euclidean_rdm,
    hamming_rdm,
    ranks,
)

TINY = 1e-30  # a vector shorter than this is that of a constant, and like nothing


@final
@dataclass(frozen=True)
class Pattern:
    """How a measure reads one representation.

    Args:
        of: From ``(n, p)`` features to the vector or matrix whose cosine with another's is the
            measure.
        read: From cosines to the measure, where they are not the same.
        unbiased: Inner products are unbiased estimates: over batches they are averaged before
            they become cosines, so that a batch need not be large.
        whole: Inner products are cosines already; a vector of another length than 1 keeps it.
    """

    of: Callable[[Tensor], Tensor]
    read: Callable[[Tensor], Tensor] | None = None
    unbiased: bool = False
    whole: bool = False


def _gram(x: Tensor) -> Tensor:
    # Not standardised: batches are to weigh in an average as they are.
    z = centred(x)
    return z @ z.T


def _distances(x: Tensor) -> Tensor:
    return distances(centred(x))


def _neighbors(x: Tensor) -> Tensor:
    return unit_rows(cosine_graph(x)) / len(x) ** 0.5


def _bits_apart(x: Tensor) -> Tensor:
    return hamming_rdm(BitCodes.pack(x > 0)).to(x)


PATTERNS: Mapping[str, Pattern] = {
    "linear_cka": Pattern(lambda x: double_centred(_gram(x))),
    "unbiased_linear_cka": Pattern(lambda x: u_centred(_gram(x)), unbiased=True),
    "rbf_cka": Pattern(lambda x: double_centred(gaussian_kernel(x))),
    "distance_correlation": Pattern(
        lambda x: double_centred(_distances(x)), read=lambda cosines: cosines.clamp(min=0).sqrt()
    ),
    "squared_distance_correlation": Pattern(lambda x: double_centred(_distances(x))),
    "unbiased_squared_distance_correlation": Pattern(
        lambda x: u_centred(_distances(x)), unbiased=True
    ),
    "graph_similarity": Pattern(_neighbors, whole=True),
    "degree_correlation": Pattern(lambda x: centred_degrees(cosine_graph(x)), read=torch.abs),
    "correlation_rsa": Pattern(lambda x: centred(ranks(above_diagonal(correlation_rdm(x))))),
    "euclidean_rsa": Pattern(lambda x: centred(above_diagonal(euclidean_rdm(x)))),
    "hamming_rsa": Pattern(lambda x: centred(above_diagonal(_bits_apart(x)))),
}


def patterns_of(pattern: Pattern, representations: Sequence[Tensor]) -> Tensor:
    """Read representations of the same ``n`` inputs, at least 4, one by one.

    Args:
        pattern: How; one of ``PATTERNS``.
        representations: ``(n, p)`` each, of any widths.

    Returns:
        ``(representations, m)``, a vector each, at the price of the measure's own matrices.

    Raises:
        InputError: rows that do not pair up, fewer than 4 of them, or values that are not finite.
    """
    checked = paired(*representations, at_least=4)
    read = torch.stack([pattern.of(x).flatten() for x in checked])
    return read if pattern.unbiased or pattern.whole else F.normalize(read, dim=1, eps=TINY)


@final
class PatternSums:
    """Similarity of every representation on one side to every one on the other, over batches.

    Unbiased inner products are averaged over batches, then become cosines (the unbiased measures
    do not depend on the size of batches but for noise); of other measures the values are averaged.

    Source:
        Nguyen et al. 2021, arXiv:2010.15327, Eq. 2 and 3, for unbiased linear CKA.
    """

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._cross = torch.zeros(1, dtype=torch.float64)
        self._own = [torch.zeros(1, dtype=torch.float64) for _ in range(2)]
        self._batches = 0

    def update(self, left: Tensor, right: Tensor) -> Self:
        """Add a batch: ``patterns_of`` the ``a`` and the ``b`` representations of its inputs."""
        cross = (left @ right.T).double().cpu()
        if self._pattern.read is not None:
            cross = self._pattern.read(cross)
        self._cross = self._cross + cross
        self._own = [
            own + side.double().square().sum(1).cpu()
            for own, side in zip(self._own, (left, right), strict=True)
        ]
        self._batches += 1
        return self

    def compute(self) -> Tensor:
        """Return ``(a, b)`` similarities over all batches so far, float64 on the CPU."""
        if self._batches == 0:
            raise InputError("no batch yet: call update(left, right) first")
        if self._pattern.unbiased:
            return cosine(self._cross, self._own[0][:, None], self._own[1])
        return self._cross / self._batches
