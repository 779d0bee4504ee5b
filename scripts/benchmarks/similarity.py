"""Distance correlation, CKA and GBS beside what people use today."""

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advdetect.similarity import graph_similarity, linear_cka, unbiased_linear_cka
from advdetect.similarity.distance_correlation import (
    partial_distance_correlation,
    unbiased_squared_distance_correlation,
)
from benchmarks.comparing import Rival, Row, Scope, compare
from benchmarks.inputs import representations
from benchmarks.memory import in_fresh_process, seconds_and

NEIGHBOURS = 5

unbiased = unbiased_squared_distance_correlation


def measures(scope: Scope) -> Iterator[Row]:
    """Every measure that has a rival, and what the largest takes of memory."""
    n, p = (200, 32) if scope.quick else (2000, 512)
    for dtype in (torch.float64, torch.float32):
        x, y, z = representations(n, p, p, p, dtype=dtype)
        size = f"{n:,} x {p:,}, {str(dtype).removeprefix('torch.')}"
        yield from compare(
            scope,
            f"unbiased dCor, {size}",
            partial(unbiased, x, y),
            [Rival("dcor", partial(dcor_unbiased, x, y), "dcor"), *doubled(unbiased, x, y)],
        )
        yield from compare(
            scope,
            f"partial dCor, {size}",
            partial(partial_distance_correlation, x, y, z),
            [
                Rival("dcor", partial(dcor_partial, x, y, z), "dcor"),
                *doubled(partial_distance_correlation, x, y, z),
            ],
        )
    n, p = (250, 100) if scope.quick else (5000, 2048)
    yield from alignment(scope, n, p)
    n, p = (300, 64) if scope.quick else (5000, 512)
    x, y = representations(n, p, p)
    yield from compare(
        scope,
        f"GBS, k = {NEIGHBOURS}, {n:,} x {p:,}",
        partial(graph_similarity, x, y, k=NEIGHBOURS),
        [Rival("scikit-learn and NumPy", partial(plain_graph_similarity, x, y))],
    )
    if scope.full:
        n, p = (2000, 32) if scope.quick else (50_000, 512)
        seconds, _, peak = in_fresh_process(blockwise, n, p, threads=scope.threads)
        case = f"unbiased dCor, {n:,} x {p:,}: peak of a whole process"
        yield Row(case, seconds, "none", None, None, None, peak)


def alignment(scope: Scope, n: int, p: int) -> Iterator[Row]:
    """CKA, and the matrix products that no CKA can do without."""
    x, y = representations(n, p, p)
    products = [
        Rival("products x'y, x'x, y'y alone", partial(feature_products, x, y)),
        Rival("products xx', yy' alone", partial(gram_products, x, y)),
    ]
    yield from compare(
        scope,
        f"linear CKA, {n:,} x {p:,}",
        partial(linear_cka, x, y),
        [Rival("its definition, by Gram matrices", partial(plain_cka, x, y)), *products],
    )
    yield from compare(
        scope,
        f"unbiased linear CKA, {n:,} x {p:,}",
        partial(unbiased_linear_cka, x, y),
        [
            Rival("pytorch-cka", partial(pytorch_cka, x, y), "cka"),
            Rival("torch-cka, models that pass x, y on", partial(torch_cka, x, y), "torch_cka"),
            *doubled(unbiased_linear_cka, x, y),
            *products,
        ],
    )


def doubled(measure: Callable[..., Tensor], *matrices: Tensor) -> list[Rival]:
    """Ours in float64 as well, of float32 features: it tells whose digits are lost."""
    if matrices[0].dtype == torch.float64:
        return []
    return [Rival("advdetect, float64", partial(measure, *(z.double() for z in matrices)))]


def blockwise(n: int, p: int) -> Tensor:
    """Distance correlation of more rows than an n x n matrix would allow."""
    x, y = representations(n, p, p)
    return seconds_and(lambda: unbiased_squared_distance_correlation(x, y))


def dcor_unbiased(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared distance correlation by dcor."""
    import dcor

    return torch.tensor(dcor.u_distance_correlation_sqr(x.numpy(), y.numpy()))


def dcor_partial(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Partial distance correlation by dcor."""
    import dcor

    return torch.tensor(dcor.partial_distance_correlation(x.numpy(), y.numpy(), z.numpy()))


def feature_products(x: Tensor, y: Tensor) -> None:
    """What CKA over features cannot do without; no answer."""
    for a, b in ((x, y), (x, x), (y, y)):
        torch.mm(a.T, b)


def gram_products(x: Tensor, y: Tensor) -> None:
    """What CKA over Gram matrices cannot do without; no answer."""
    for a in (x, y):
        torch.mm(a, a.T)


def plain_cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear CKA as it is written down: Gram matrices, centred."""
    grams = [z @ z.T for z in (x, y)]
    a, b = (g - g.mean(0) - g.mean(1, keepdim=True) + g.mean() for g in grams)
    return (a * b).sum() / (a.norm() * b.norm())


def pytorch_cka(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased CKA by pytorch-cka, which takes features."""
    from cka import cka_from_features

    return cka_from_features(x, y).squeeze()


class _OneBatch:
    """As much of a data loader as torch-cka asks for: it takes nothing else."""

    def __init__(self, batch: Tensor) -> None:
        self.dataset = "features"
        self._batches = [(batch,)]

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Tensor]]:
        return iter(self._batches)


def torch_cka(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased CKA by torch-cka, of two models that return what they are given."""
    from torch_cka import CKA

    names = {"model1_name": "x", "model2_name": "y", "model1_layers": ["0"], "model2_layers": ["0"]}
    arguments: dict[str, Any] = names
    cka = CKA(nn.Sequential(nn.Identity()), nn.Sequential(nn.Identity()), **arguments)
    with torch.no_grad(), redirect_stderr(io.StringIO()):  # it draws a progress bar
        cka.compare(_OneBatch(x), _OneBatch(y))
    return cka.hsic_matrix.squeeze()


def plain_graph_similarity(x: Tensor, y: Tensor) -> Tensor:
    """GBS by scikit-learn's cosines and NumPy, as its authors wrote it."""
    from sklearn.metrics.pairwise import cosine_similarity

    graphs = []
    for z in (x, y):
        cosines = cosine_similarity(z.numpy())
        np.fill_diagonal(cosines, -np.inf)
        nearest = np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weights = np.zeros_like(cosines)
        np.put_along_axis(weights, nearest, np.take_along_axis(cosines, nearest, 1), 1)
        graphs.append((weights + weights.T) / 2)
    a, b = graphs
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return torch.tensor(((a * b).sum(1) / lengths).mean())
