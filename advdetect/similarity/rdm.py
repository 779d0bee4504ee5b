"""Representational dissimilarity matrices (RDMs), and how alike two of them are (RSA)."""

import torch
from torch import Tensor

from advdetect.checks import check_paired_rows
from advdetect.errors import InputError
from advdetect.similarity.bits import BitCodes, hamming_similarity
from advdetect.similarity.gram import centred, cosine, distances, paired


def hamming_rdm(codes: BitCodes) -> Tensor:
    """Share of bits in which two codes differ, ``(n, n)`` float32 in [0, 1]."""
    return 1 - hamming_similarity(codes, codes)


def correlation_rdm(x: Tensor) -> Tensor:
    """1 minus the Pearson correlation of two inputs' features.

    It ignores the level and the scale of each input's features; an input whose features are
    all equal is at 1 from all others.

    Args:
        x: ``(n, p)`` activations.

    Returns:
        ``(n, n)`` in [0, 2], diagonal 0, differentiable.

    Raises:
        InputError: not a finite float matrix of at least two rows.
    """
    (x,) = paired(x)
    patterns = centred(x.T).T
    length = patterns.detach().abs().amax(1, keepdim=True) if x.numel() else x.new_ones(1)
    patterns = patterns / torch.where(length > 0, length, 1)
    own = patterns.square().sum(1)
    rdm = 1 - cosine(patterns @ patterns.T, own[:, None], own)
    return rdm.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), 0)


def euclidean_rdm(x: Tensor) -> Tensor:
    """Euclidean distance between two inputs' features.

    Args:
        x: ``(n, p)`` activations.

    Returns:
        ``(n, n)``, diagonal 0, differentiable; duplicates are at 0 with gradient 0.

    Raises:
        InputError: not a finite float matrix of at least two rows.
    """
    (x,) = paired(x)
    return distances(centred(x))


def pearson_rsa(rdm_x: Tensor, rdm_y: Tensor) -> Tensor:
    """Linear (Pearson) correlation of two RDMs above the diagonal.

    Args:
        rdm_x: ``(n, n)`` symmetric dissimilarities of at least 3 inputs.
        rdm_y: ``(n, n)`` dissimilarities of the same inputs in the same order.

    Returns:
        Scalar in [-1, 1], differentiable; 0 where all of one RDM's entries are equal.

    Raises:
        InputError: not two finite square matrices of one size, or fewer than 3 inputs.

    Source:
        Kriegeskorte et al. 2008, Frontiers in Systems Neuroscience 2:4.
    """
    return _pearson(*_upper(rdm_x, rdm_y))


def spearman_rsa(rdm_x: Tensor, rdm_y: Tensor) -> Tensor:
    """Rank (Spearman) correlation of two RDMs above the diagonal; equal entries share a rank.

    Unlike ``pearson_rsa`` it does not see how dissimilarities are scaled.

    Args:
        rdm_x: ``(n, n)`` symmetric dissimilarities of at least 3 inputs.
        rdm_y: ``(n, n)`` dissimilarities of the same inputs in the same order.

    Returns:
        Scalar in [-1, 1], without gradient; 0 where all of one RDM's entries are equal.

    Raises:
        InputError: not two finite square matrices of one size, or fewer than 3 inputs.

    Source:
        Kriegeskorte et al. 2008, Frontiers in Systems Neuroscience 2:4.
    """
    return _pearson(*(ranks(values) for values in _upper(rdm_x, rdm_y)))


def correlation_rsa(x: Tensor, y: Tensor) -> Tensor:
    """``spearman_rsa`` of the correlation RDMs of two representations: the usual choice.

    Args:
        x: ``(n, p)`` activations of at least 3 inputs.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [-1, 1], without gradient.

    Raises:
        InputError: the rows do not pair up, or there are fewer than three.
    """
    check_paired_rows(x, y, at_least=3)
    return spearman_rsa(correlation_rdm(x), correlation_rdm(y))


def euclidean_rsa(x: Tensor, y: Tensor) -> Tensor:
    """``pearson_rsa`` of the Euclidean RDMs of two representations.

    Args:
        x: ``(n, p)`` activations of at least 3 inputs.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [-1, 1], differentiable.

    Raises:
        InputError: the rows do not pair up, or there are fewer than three.
    """
    check_paired_rows(x, y, at_least=3)
    return pearson_rsa(euclidean_rdm(x), euclidean_rdm(y))


def hamming_rsa(x: Tensor, y: Tensor) -> Tensor:
    """``pearson_rsa`` of the Hamming RDMs of two activation patterns, 1 where positive.

    Args:
        x: ``(n, p)`` pre-activations, or ReLU outputs, of at least 3 inputs.
        y: ``(n, q)`` activations of the same inputs in the same order.

    Returns:
        Scalar in [-1, 1], without gradient.

    Raises:
        InputError: the rows do not pair up, or there are fewer than three.
    """
    rdms = (hamming_rdm(BitCodes.pack(z > 0)).to(z) for z in paired(x, y, at_least=3))
    return pearson_rsa(*rdms)


def _upper(rdm_x: Tensor, rdm_y: Tensor) -> list[Tensor]:
    for rdm in (rdm_x, rdm_y):
        if rdm.ndim != 2 or rdm.shape[0] != rdm.shape[1]:
            raise InputError(f"expected (n, n) dissimilarities, got {tuple(rdm.shape)}")
    return [above_diagonal(rdm) for rdm in paired(rdm_x, rdm_y, at_least=3)]


def above_diagonal(rdm: Tensor) -> Tensor:
    """Each pair's dissimilarity once: ``(n (n - 1) / 2,)``."""
    return rdm[torch.ones_like(rdm, dtype=torch.bool).triu(1)]


def _pearson(x: Tensor, y: Tensor) -> Tensor:
    x, y = centred(x), centred(y)
    return cosine((x * y).sum(), x.square().sum(), y.square().sum())


def ranks(values: Tensor) -> Tensor:
    """Ranks from 1; ties get the mean of theirs."""
    _, place, count = values.detach().unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).to(values)
    return (last - (count - 1) / 2)[place]
