"""Laplacians and cuts of graphs whose spectra are known in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.csgraph import laplacian as scipy_laplacian
from sklearn.manifold import spectral_embedding

from advdetect.errors import InputError
from advdetect.similarity import spectral
from advdetect.similarity.bits import BitCodes, hamming_similarity
from advdetect.similarity.spectral import fiedler_partition, knn_graph, laplacian

KINDS = ["unnormalised", "symmetric", "random-walk"]


def blocks(n: int = 10) -> torch.Tensor:
    """Two groups of n: 0.9 within, 0.4 across."""
    group = torch.arange(2 * n) < n
    return torch.where(group[:, None] == group, 0.9, 0.4).double()


def path(n: int) -> sparse.csr_array:
    ones = np.ones(n - 1)
    return sparse.diags_array([ones, ones], offsets=[-1, 1]).tocsr()


def class_codes(n: int, bits: int, shift: float, seed: int = 0) -> tuple[BitCodes, torch.Tensor]:
    """Codes of two classes whose bits' log-odds differ by ``shift`` in deviation."""
    generator = torch.Generator().manual_seed(seed)
    sign = torch.arange(n) % 2 * 2.0 - 1
    common, apart = torch.randn(2, bits, generator=generator)
    rate = torch.sigmoid(common + shift / 2 * sign[:, None] * apart)
    return BitCodes.pack(torch.rand(n, bits, generator=generator) < rate), sign > 0


def agreement(side: torch.Tensor, truth: torch.Tensor) -> float:
    share = (side == truth).double().mean().item()
    return max(share, 1 - share)


@pytest.fixture
def iterative(monkeypatch) -> None:
    """Take the route of large graphs on small ones."""
    monkeypatch.setattr(spectral, "DENSE_ROWS", 0)
    monkeypatch.setattr(spectral, "SECOND_TOLERANCE", 1e-12)
    monkeypatch.setattr(spectral, "THIRD_TOLERANCE", 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_laplacian_against_scipy(kind: str) -> None:
    similarity = torch.rand(9, 9, generator=torch.Generator().manual_seed(0)).double()
    similarity = similarity + similarity.T
    similarity[4] = similarity[:, 4] = 0
    # SciPy has no random-walk form; it is the symmetric one between D^-1/2 and D^1/2.
    expected = torch.from_numpy(scipy_laplacian(similarity.numpy(), normed=kind != KINDS[0]))
    if kind == "random-walk":
        root = (similarity.sum(1) - similarity.diagonal()).sqrt()
        root[4] = 1
        expected = expected / root[:, None] * root
        torch.testing.assert_close(laplacian(similarity, kind).sum(1), torch.zeros(9).double())
    torch.testing.assert_close(laplacian(similarity, kind), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_laplacian_has_its_gradient(kind: str) -> None:
    root = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: laplacian(x + x.T, kind), (root,))


def test_spectrum_of_two_blocks() -> None:
    values = torch.linalg.eigvalsh(laplacian(blocks(), "unnormalised"))
    expected = torch.tensor([0.0] + [8.0] + 18 * [13.0]).double()
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("route", ["direct", "lanczos"])
@pytest.mark.parametrize("form", ["dense", "single", "sparse"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_blocks_are_cut_apart(kind: str, form: str, route: str, request) -> None:
    if route == "lanczos":
        request.getfixturevalue("iterative")
    graph = blocks().float() if form == "single" else blocks()
    found = fiedler_partition(sparse.csr_array(graph) if form == "sparse" else graph, kind)
    assert found.side.tolist() == 10 * [False] + 10 * [True]
    expected = torch.tensor([-1.0] * 10 + [1.0] * 10).double() / math.sqrt(20)
    torch.testing.assert_close(found.vector, expected, atol=1e-6, rtol=0)
    degree = 9 * 0.9 + 10 * 0.4
    scale = 1 if kind == "unnormalised" else degree
    assert found.eigenvalue == pytest.approx(8 / scale, rel=1e-6)
    assert found.eigengap == pytest.approx(5 / scale, rel=1e-6)
    assert found.warning is None


@pytest.mark.parametrize("route", ["direct", "lanczos"])
def test_path_is_cut_in_its_middle(route: str, request) -> None:
    if route == "lanczos":
        request.getfixturevalue("iterative")
    n = 40
    found = fiedler_partition(path(n), "unnormalised")
    assert found.eigenvalue == pytest.approx(2 - 2 * math.cos(math.pi / n), rel=1e-6)
    assert found.eigengap == pytest.approx(
        2 * math.cos(math.pi / n) - 2 * math.cos(2 * math.pi / n), rel=1e-6
    )
    cosine = torch.cos(math.pi * (torch.arange(n).double() + 0.5) / n)
    expected = -cosine / cosine.norm()
    torch.testing.assert_close(found.vector, expected, atol=1e-5, rtol=0)
    assert found.side.tolist() == 20 * [False] + 20 * [True]
    assert found.warning is None


def test_a_long_path_is_factorised(monkeypatch) -> None:
    monkeypatch.setattr(spectral, "RESTARTS", 1)
    n = 3000
    found = fiedler_partition(path(n), "unnormalised")
    assert found.eigenvalue == pytest.approx(2 - 2 * math.cos(math.pi / n), rel=1e-4)
    assert found.side.sum() == n // 2
    assert not found.side[: n // 2].any()
    assert found.warning is None


@pytest.mark.parametrize("route", ["direct", "lanczos"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_in_two_pieces(kind: str, route: str, request) -> None:
    if route == "lanczos":
        request.getfixturevalue("iterative")
    graph = torch.zeros(9, 9).double()
    graph[:5, :5] = graph[5:, 5:] = 1
    found = fiedler_partition(graph, kind)
    assert found.eigenvalue == pytest.approx(0, abs=1e-9)
    assert found.side.tolist() == 5 * [False] + 4 * [True]
    assert found.warning is None


@pytest.mark.parametrize("route", ["direct", "lanczos"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 12])
def test_a_complete_graph_claims_no_cut(n: int, kind: str, route: str, request) -> None:
    if route == "lanczos" and n > 3:  # ARPACK needs a few rows
        request.getfixturevalue("iterative")
    found = fiedler_partition(torch.full((n, n), 0.7).double(), kind)
    assert found.eigengap == pytest.approx(0, abs=1e-9)
    assert "the cut is arbitrary" in found.warning


def test_a_ring_claims_no_cut() -> None:
    ring = path(30).tolil()
    ring[0, 29] = ring[29, 0] = 1
    assert "hardly differ" in fiedler_partition(ring.tocsr()).warning


def test_unrelated_codes_mostly_claim_no_cut() -> None:
    cuts = [fiedler_partition(class_codes(100, 512, 0, seed)[0]) for seed in range(20)]
    assert sum(cut.warning is not None for cut in cuts) >= 15


def test_a_lonely_input_is_called_an_outlier() -> None:
    graph = torch.ones(30, 30).double()
    graph[7] = graph[:, 7] = 0.01
    found = fiedler_partition(graph)
    assert found.side.nonzero().tolist() == [[7]]
    assert found.warning == "the cut sets apart only 1 of 30 inputs: outliers rather than a group"


def test_unnormalised_does_not_see_scale_and_shift() -> None:
    similarity = hamming_similarity(*[class_codes(40, 300, 0.8)[0]] * 2).double()
    plain = fiedler_partition(similarity, "unnormalised")
    distance = 300 * (1 - similarity)
    for same in (7 * similarity + 3, -distance, 300 * similarity):
        torch.testing.assert_close(fiedler_partition(same, "unnormalised").vector, plain.vector)


def test_symmetric_does_see_a_shift() -> None:
    similarity = torch.rand(20, 20, generator=torch.Generator().manual_seed(1)).double()
    similarity = similarity + similarity.T
    shifted = fiedler_partition(similarity + 3).vector
    assert (fiedler_partition(similarity).vector - shifted).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_codes_stand_for_their_hamming_similarity(kind: str, iterative) -> None:
    codes, _ = class_codes(60, 333, 0.8)
    dense = fiedler_partition(hamming_similarity(codes, codes).double(), kind)
    by_bits = fiedler_partition(codes, kind)
    torch.testing.assert_close(by_bits.vector, dense.vector, atol=1e-4, rtol=0)
    assert by_bits.eigenvalue == pytest.approx(dense.eigenvalue, rel=1e-5)
    assert by_bits.eigengap == pytest.approx(dense.eigengap, rel=1e-3)


def test_symmetric_finds_weak_classes_that_unnormalised_misses() -> None:
    codes, truth = class_codes(700, 1024, 0.4)  # more rows than are decomposed in full
    found = fiedler_partition(codes)
    assert agreement(found.side, truth) > 0.98
    assert found.warning is None
    assert agreement(fiedler_partition(codes, "unnormalised").side, truth) < 0.7


def test_the_scikit_learn_embedding_up_to_sign() -> None:
    similarity = hamming_similarity(*[class_codes(60, 500, 0.8)[0]] * 2).double()
    theirs = spectral_embedding(
        similarity.numpy(), n_components=1, eigen_solver="arpack", random_state=0
    )
    theirs = torch.from_numpy(theirs[:, 0].copy())
    ours = fiedler_partition(similarity, "random-walk").vector  # theirs is D^-1/2 u, unscaled
    cosine = torch.nn.functional.cosine_similarity(theirs, ours, dim=0).abs()
    assert cosine.item() == pytest.approx(1, abs=1e-6)


def test_knn_graph_by_hand() -> None:
    # Places 0, 1, 3 on a line: 0 and 1 choose each other, 3 chooses 1.
    place = torch.tensor([0.0, 1, 3])
    graph = knn_graph(-(place[:, None] - place).abs(), 1)
    assert graph.toarray().tolist() == [[0, 1, 0], [1, 0, 0.5], [0, 0.5, 0]]


def test_knn_graph_does_not_see_a_monotone_change() -> None:
    similarity = torch.rand(20, 20, generator=torch.Generator().manual_seed(1))
    similarity = similarity + similarity.T
    graph = knn_graph(similarity, 4)
    assert (graph != knn_graph(similarity**3, 4)).nnz == 0
    assert (graph != graph.T).nnz == 0
    assert graph.sum() == 80


def test_knn_graph_is_cut() -> None:
    codes, truth = class_codes(100, 1000, 1.2)
    found = fiedler_partition(knn_graph(hamming_similarity(codes, codes), 10))
    assert agreement(found.side, truth) > 0.95


def lopsided() -> torch.Tensor:
    graph = blocks(3)
    graph[0, 1] = 0.5
    return graph


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: laplacian(torch.ones(3, 4)), r"\(n, n\) similarities, got \(3, 4\)"),
        (lambda: laplacian(torch.ones(3, 3).long()), "floating-point similarities, got torch.int"),
        (lambda: laplacian(torch.full((3, 3), torch.nan)), "finite, got NaN"),
        (lambda: laplacian(lopsided()), "expected symmetric"),
        (lambda: laplacian(-blocks()), "needs similarities of at least 0, got -0.9: clamp"),
        (lambda: laplacian(blocks(), "other"), "no laplacian named 'other', choose from: unnorm"),
        (lambda: fiedler_partition(blocks(), "other"), "no laplacian named 'other'"),
        (lambda: fiedler_partition(lopsided()), "expected symmetric"),
        (lambda: fiedler_partition(sparse.csr_array(lopsided().numpy())), "expected symmetric"),
        (lambda: fiedler_partition(sparse.csr_array(np.ones((3, 4)))), r"got \(3, 4\)"),
        (lambda: fiedler_partition(path(5) * np.nan), "finite, got NaN"),
        (lambda: fiedler_partition(path(5) * -1), "at least 0, got -1"),
        (lambda: fiedler_partition(np.ones((3, 3))), "BitCodes, got ndarray"),
        (lambda: fiedler_partition(torch.ones(2, 2)), "at least 3 inputs, got 2"),
        (lambda: fiedler_partition(torch.ones(0, 0)), "of some inputs, got none"),
        (lambda: fiedler_partition(torch.eye(5)), "graph without any"),
        (lambda: fiedler_partition(sparse.csr_array((5, 5))), "graph without any"),
        (lambda: knn_graph(torch.ones(3, 4), 1), r"got \(3, 4\)"),
        (lambda: knn_graph(torch.ones(4, 4), 4), "between 1 and n - 1 = 3, got 4"),
        (lambda: knn_graph(torch.ones(4, 4), 0), "got 0"),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
