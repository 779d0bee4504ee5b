"""Hamming similarities of all pairs of codes, and nearest codes."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.similarity.bits import BitCodes, hamming_neighbors, hamming_similarity
from benchmarks.comparing import Rival, Row, Scope, compare
from benchmarks.inputs import grouped_codes

NEAREST = 10

Bytes = NDArray[np.uint8]


def all_pairs_and_neighbours(scope: Scope) -> Iterator[Row]:
    """Each library gets codes in its own form, made beforehand: bytes, booleans or floats."""
    n, many, bits = (120, 200, 1000) if scope.quick else (2000, 5000, 50_000)
    codes, _ = grouped_codes(n, bits)
    unpacked = codes.unpack()
    packed = np.packbits(unpacked.numpy(), axis=1)
    yield from compare(
        scope,
        f"Hamming, all pairs of {n:,} codes of {bits:,} bits",
        partial(hamming_similarity, codes, codes),
        [
            Rival("FAISS IndexBinaryFlat, k = n", partial(flat_all_pairs, packed, bits)),
            Rival("faiss.hammings, one call", partial(counted_all_pairs, packed, bits)),
            Rival("torch, product of signs", partial(signs_all_pairs, unpacked)),
            Rival("SciPy pdist", partial(pdist_all_pairs, unpacked)),
        ],
    )
    base, _ = grouped_codes(many, bits)
    queries = base[:n]
    bytes_of_base = np.packbits(base.unpack().numpy(), axis=1)
    search = partial(flat_search, bytes_of_base[:n], bytes_of_base, bits)
    yield from compare(
        scope,
        f"Hamming, {NEAREST} nearest of {n:,} among {many:,} codes of {bits:,} bits",
        partial(nearest, queries, base),
        [Rival("FAISS IndexBinaryFlat", search)],
    )


def nearest(queries: BitCodes, base: BitCodes) -> Tensor:
    """Similarities of the nearest codes: among equals each library may choose."""
    return hamming_neighbors(queries, base, NEAREST)[0]


def flat_search(queries: Bytes, base: Bytes, bits: int, k: int = NEAREST) -> Tensor:
    """Nearest codes by a plain index."""
    return 1 - torch.from_numpy(_search(queries, base, k)[0]) / bits


def flat_all_pairs(packed: Bytes, bits: int) -> Tensor:
    """All pairs by a plain index: every code's n nearest, put back in order."""
    differing, found = _search(packed, packed, len(packed))
    ordered = np.empty_like(differing)
    np.put_along_axis(ordered, found, differing, axis=1)
    return 1 - torch.from_numpy(ordered) / bits


def counted_all_pairs(packed: Bytes, bits: int) -> Tensor:
    """All pairs by FAISS's function for it, which runs on one thread."""
    import faiss

    n, width = packed.shape
    differing = np.empty((n, n), np.int32)
    rows = faiss.swig_ptr(packed)
    faiss.hammings(rows, rows, n, n, width, faiss.swig_ptr(differing))
    return 1 - torch.from_numpy(differing) / bits


def signs_all_pairs(unpacked: Tensor) -> Tensor:
    """All pairs by a matrix product of +-1."""
    signs = 2 * unpacked.float() - 1
    return (signs @ signs.T / unpacked.shape[1] + 1) / 2


def pdist_all_pairs(unpacked: Tensor) -> Tensor:
    """All pairs by SciPy."""
    from scipy.spatial.distance import pdist, squareform

    return 1 - torch.from_numpy(squareform(pdist(unpacked.numpy(), "hamming")))


def _search(queries: Bytes, base: Bytes, k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexBinaryFlat(8 * base.shape[1])
    index.add(base)
    return index.search(queries, k)
