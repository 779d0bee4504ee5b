"""How alike do two members represent a batch? ``PENALTIES`` is what training pushes down.

Each takes ``(n, p)`` and ``(n, q)`` features of the same inputs and the ``(n, r)`` embedding of
their labels, and returns a differentiable scalar, near 1 for members that are alike. Estimates
that may fall below 0 stop there: members are to be unrelated, not opposed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect.similarity.cka import unbiased_linear_cka
from advdetect.similarity.distance_correlation import (
    partial_distance_correlation,
    semi_partial_distance_correlation,
    squared_distance_correlation,
    unbiased_squared_distance_correlation,
)
from advdetect.similarity.graphs import graph_similarity

PENULTIMATE: Final = "penultimate"
LAST: Final = "last"


@dataclass(frozen=True)
class Penalty:
    """A penalty, and what it looks at unless told otherwise.

    Attributes:
        value: Of two members' features and the labels' embedding.
        layer: ``PENULTIMATE``, what goes into the last linear layer, or ``LAST``, what goes
            into the last ReLU-family call.
        labels: Whether it looks at the labels.
    """

    value: Callable[[Tensor, Tensor, Tensor], Tensor]
    layer: str = PENULTIMATE
    labels: bool = False


def dcor(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """Squared distance correlation of rows scaled to length 1: the loss of the paper's code.

    Biased: of features that have nothing in common it is far above 0 when they are many beside
    the batch (0.94 of 512 at a batch of 128), so that pressing it down is not what it seems.

    Source:
        Zhen et al. 2022, arXiv:2207.09684, Eq. 9; the rows' lengths are in their code alone.
    """
    return squared_distance_correlation(F.normalize(x), F.normalize(y))


def unbiased_dcor(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """Unbiased squared distance correlation; about 0 for independent features.

    Source:
        Szekely and Rizzo 2014, arXiv:1310.2926.
    """
    return unbiased_squared_distance_correlation(x, y).clamp(min=0)


def partial_dcor(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """Partial distance correlation given the labels: only what is shared beyond the task.

    Source:
        Szekely and Rizzo 2014, arXiv:1310.2926, Definition 4. As a loss it is advdetect's own.
    """
    return partial_distance_correlation(x, y, labels).clamp(min=0)


def semi_partial_dcor(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """The labels taken out of the first member alone.

    Source:
        What the code of Zhen et al. 2022, arXiv:2207.09684, computes as the partial form.
    """
    return semi_partial_distance_correlation(x, y, labels).clamp(min=0)


def cka(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """Unbiased linear CKA: linear dependence alone."""
    return unbiased_linear_cka(x, y).clamp(min=0)


def gbs(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """Graph-based similarity of five neighbours each, smooth while neighbours stay the same.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 5.
    """
    return graph_similarity(x, y, k=min(5, len(x) - 1)).clamp(min=0)


def bits(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """Agreement of two members on which inputs have the same activation patterns.

    Units of two networks do not correspond, so patterns are compared within each member: of bits
    as -1 and 1 the Gram matrix is their Hamming similarity, and CKA compares two of them. A
    hyperbolic tangent, as steep as the pre-activations are large, stands in for the step.
    """
    return unbiased_linear_cka(_soft_bits(x), _soft_bits(y)).clamp(min=0)


def _soft_bits(pre_activations: Tensor) -> Tensor:
    return torch.tanh(pre_activations / pre_activations.detach().abs().mean().clamp(min=1e-12))


PENALTIES: Mapping[str, Penalty] = {
    "dcor": Penalty(dcor),
    "unbiased-dcor": Penalty(unbiased_dcor),
    "partial-dcor": Penalty(partial_dcor, labels=True),
    "semi-partial-dcor": Penalty(semi_partial_dcor, labels=True),
    "cka": Penalty(cka),
    "gbs": Penalty(gbs),
    "bits": Penalty(bits, LAST),  # behind it there are no bits
}
