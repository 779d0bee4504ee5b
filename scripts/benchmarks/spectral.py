"""Fiedler cuts beside scikit-learn's spectral embedding."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from advdetect.similarity.bits import BitCodes, hamming_similarity
from advdetect.similarity.spectral import fiedler_partition
from benchmarks.comparing import Rival, Row, Scope, compare
from benchmarks.inputs import grouped_codes
from benchmarks.memory import in_fresh_process, seconds_and


def fiedler_cuts(scope: Scope) -> Iterator[Row]:
    """Cuts of codes in two; the difference is 0 where all are on the same side, else 1."""
    n, bits = (600, 512) if scope.quick else (5000, 4096)
    codes, _ = grouped_codes(n, bits)
    similarity = hamming_similarity(codes, codes)
    embedded = partial(embedding_sides, similarity)
    cases = {
        f"Fiedler cut, {n:,} codes of {bits:,} bits": codes,
        f"Fiedler cut, the same codes' {n:,} x {n:,} matrix": similarity,
    }
    for case, graph in cases.items():
        rival = Rival("scikit-learn spectral_embedding, that matrix", embedded)
        ours = partial(sides, graph)
        yield from compare(scope, case, ours, [rival])
    if scope.full:
        n, bits = (3000, 4096) if scope.quick else (100_000, 4096)
        seconds, wrong, peak = in_fresh_process(cut_of_many, n, bits, threads=scope.threads)
        case = f"Fiedler cut, {n:,} codes of {bits:,} bits: peak of a whole process"
        yield Row(case, seconds, "none: the groups planted", None, None, wrong.item(), peak)


def sides(graph: BitCodes | Tensor) -> Tensor:
    """Return 1 on the smaller side of our cut."""
    return fiedler_partition(graph).side.float()


def embedding_sides(similarity: Tensor) -> Tensor:
    """Return 1 on the smaller side of scikit-learn's cut, by its defaults."""
    from sklearn.manifold import spectral_embedding

    vector = spectral_embedding(similarity.numpy(), n_components=1, random_state=0)[:, 0]
    side = torch.from_numpy(vector > 0)
    return (side if 2 * side.sum() <= len(side) else ~side).float()


def cut_of_many(n: int, bits: int) -> Tensor:
    """Cut codes, and say whether any input is on the wrong side."""
    codes, smaller = grouped_codes(n, bits)
    return seconds_and(lambda: (sides(codes) - smaller.float()).abs().max())
