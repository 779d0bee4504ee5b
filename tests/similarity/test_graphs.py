"""GBS against graphs drawn by hand, NetworkX, and what it must and must not see."""

import math

import networkx
import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity.graphs import (
    cosine_graph,
    degree_correlation,
    graph_similarity,
    motif_ratios,
    node_similarity,
)


def features(n: int = 60, d: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def at_angles(*degrees: float) -> torch.Tensor:
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], 1)


def two_clusters() -> torch.Tensor:
    """Six inputs, three alike, orthogonal to three others."""
    x = torch.zeros(6, 4, dtype=torch.float64)
    x[:3, 0], x[3:, 2] = 1, 1
    x[:, 1] = torch.tensor([0.0, 0.1, 0.2, 0, 0, 0])
    x[:, 3] = torch.tensor([0.0, 0, 0, 0.0, 0.1, 0.2])
    return x


def test_graph_by_hand_with_half_of_a_one_sided_edge() -> None:
    # 0 and 20 degrees choose each other; 60 chooses 20, which does not choose it.
    near, far = math.cos(math.radians(20)), math.cos(math.radians(40)) / 2
    expected = torch.tensor([[0, near, 0], [near, 0, far], [0, far, 0]], dtype=torch.float64)
    torch.testing.assert_close(cosine_graph(at_angles(0, 20, 60), k=1), expected)


def test_all_edges() -> None:
    x = features(10)
    cosine = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=2)
    expected = cosine - torch.eye(10, dtype=torch.float64)
    torch.testing.assert_close(cosine_graph(x, k=None), expected)
    torch.testing.assert_close(cosine_graph(x, k=9), expected)


def test_more_than_two_dimensions_are_flattened() -> None:
    x = features(12, 24)
    assert torch.equal(cosine_graph(x.view(12, 2, 3, 4)), cosine_graph(x))
    assert graph_similarity(x.view(12, 2, 3, 4), x).item() == pytest.approx(1, abs=1e-12)


def test_similarity_by_hand() -> None:
    # Chosen edges: 0-10, 10-0, 40-10 against 0-60, 50-60, 60-50: node 0 keeps no neighbour,
    # node 1 has edges (a, 0, b) against (0, 0, c), node 2 (0, b, 0) against (d, c, 0).
    a, b = math.cos(math.radians(10)), math.cos(math.radians(30)) / 2
    c, d = math.cos(math.radians(10)), math.cos(math.radians(50)) / 2
    x, y = cosine_graph(at_angles(0, 10, 40), k=1), cosine_graph(at_angles(110, 50, 60), k=1)
    expected = torch.tensor([0, b / math.hypot(a, b), c / math.hypot(c, d)], dtype=torch.float64)
    torch.testing.assert_close(node_similarity(x, y), expected)
    found = graph_similarity(at_angles(0, 10, 40), at_angles(110, 50, 60), k=1)
    assert found.item() == pytest.approx(expected.mean().item())


@pytest.mark.parametrize("k", [1, 5, None])
def test_itself_and_symmetry(k) -> None:
    x, y = features(seed=1), features(d=5, seed=2)
    assert graph_similarity(x, x, k).item() == pytest.approx(1, abs=1e-12)
    assert graph_similarity(x, y, k).item() == pytest.approx(graph_similarity(y, x, k).item())


ROTATION = torch.linalg.qr(features(8, 8, seed=5))[0]
ORDER = torch.randperm(60, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("k", [5, None])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x @ ROTATION, id="rotation"),
        pytest.param(lambda x: 1e6 * x, id="large scale"),
        pytest.param(lambda x: 1e-6 * x, id="small scale"),
        pytest.param(lambda x: x * torch.arange(1, 61).double()[:, None], id="scale of each row"),
    ],
)
def test_does_not_see(change, k) -> None:
    x, y = features(seed=1), features(d=5, seed=2)
    assert abs(graph_similarity(change(x), y, k) - graph_similarity(x, y, k)) < 1e-10


@pytest.mark.parametrize("k", [5, None])
def test_does_not_see_the_order_of_both(k) -> None:
    x, y = features(seed=1), features(d=5, seed=2)
    assert abs(graph_similarity(x[ORDER], y[ORDER], k) - graph_similarity(x, y, k)) < 1e-12


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x + 5, id="shift"),
        pytest.param(lambda x: x @ torch.diag(torch.arange(1.0, 9.0).double() ** 2), id="linear"),
        pytest.param(lambda x: x[ORDER], id="order of one"),
    ],
)
def test_does_see(change) -> None:
    x = features(seed=1)
    assert graph_similarity(x, change(x)) < 0.8


def test_chance_level_of_sparse_and_of_full_graphs() -> None:
    x, y = features(200, 512, seed=1).relu(), features(200, 512, seed=2).relu()
    assert graph_similarity(x, y).item() == pytest.approx(0.024, abs=0.012)
    assert graph_similarity(x, y, k=None).item() == pytest.approx(0.991, abs=0.002)


def test_degrees_by_hand() -> None:
    # Weighted degrees (a, a + b, b) against (d, c, c + d).
    a, b = math.cos(math.radians(10)), math.cos(math.radians(30)) / 2
    c, d = math.cos(math.radians(10)), math.cos(math.radians(50)) / 2
    degrees = torch.tensor([[a, a + b, b], [d, c, c + d]], dtype=torch.float64)
    expected = torch.corrcoef(degrees)[0, 1].abs().item()
    found = degree_correlation(at_angles(0, 10, 40), at_angles(110, 50, 60), k=1)
    assert found.item() == pytest.approx(expected)
    assert degree_correlation(features(), features()).item() == pytest.approx(1)


def test_equal_degrees_do_not_correlate() -> None:
    ring = at_angles(*range(0, 360, 20))
    assert degree_correlation(ring, features(18), k=2).item() == 0


def test_motifs_of_two_clusters() -> None:
    graph = cosine_graph(two_clusters(), k=2)
    alike, mixed = torch.tensor([4, 4, 4, 7, 7, 7]), torch.tensor([0, 1, 2, 0, 0, 2])
    assert torch.equal(graph[:3, 3:], torch.zeros(3, 3, dtype=torch.float64))
    assert motif_ratios(graph, alike).tolist() == [1, 0, 0]
    assert motif_ratios(graph, mixed).tolist() == [0, 0.5, 0.5]


def test_motifs_against_networkx() -> None:
    graph = cosine_graph(features(40, 4))
    labels = torch.randint(3, (40,), generator=torch.Generator().manual_seed(1))
    drawn = networkx.from_numpy_array(graph.numpy())
    triangles = [c for c in networkx.enumerate_all_cliques(drawn) if len(c) == 3]
    assert len(triangles) == sum(networkx.triangles(drawn).values()) / 3
    kinds = torch.tensor([len(set(labels[c].tolist())) for c in triangles])
    expected = kinds.bincount(minlength=4)[1:] / len(kinds)
    torch.testing.assert_close(motif_ratios(graph, labels), expected.double(), rtol=1e-6, atol=0)


def test_rows_of_zeros_score_zero_with_finite_gradient() -> None:
    x = torch.cat([torch.zeros(2, 4), features(8, 4, seed=1).float().relu()]).requires_grad_()
    nodes = node_similarity(cosine_graph(x, 2), cosine_graph(x, 2))
    nodes.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert node_similarity(torch.zeros(3, 3), torch.ones(3, 3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("k", [3, None])
@pytest.mark.parametrize("measure", [graph_similarity, degree_correlation])
def test_gradient(measure, k) -> None:
    pair = (features(8, 3, 1).requires_grad_(), features(8, 2, 2).requires_grad_())
    assert torch.autograd.gradcheck(lambda x, y: measure(x, y, k), pair)


@pytest.mark.parametrize("k", [5, None])
def test_single_precision_under_a_large_mean(k) -> None:
    x, y = ((features(seed=seed) + 1000).float() for seed in (1, 2))
    exact = graph_similarity(x.double(), y.double(), k)
    assert abs(graph_similarity(x, y, k) - exact) < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graph_similarity(features(5), features(6)), "pair up, got 5 and 6"),
        (lambda: graph_similarity(features(5), features(5)), "n - 1 = 4, got 5: use fewer"),
        (lambda: graph_similarity(features(5), features(5), 0), "got 0"),
        (lambda: degree_correlation(features(5), features(5), 9), "got 9"),
        (lambda: cosine_graph(torch.ones(5)), r"got \(5,\)"),
        (lambda: cosine_graph(torch.ones(7, 2).long()), "got torch.int64"),
        (lambda: cosine_graph(features(7) / 0), "must be finite"),
        (lambda: cosine_graph(features(0)), "at least 2 rows, got 0"),
        (lambda: node_similarity(features(3, 3), features(3, 4)), r"of a graph, got \(3, 4\)"),
        (lambda: node_similarity(features(3, 3), features(4, 4)), "pair up, got 3 and 4"),
        (lambda: motif_ratios(features(3, 4), torch.zeros(3).long()), r"graph, got \(3, 4\)"),
        (lambda: motif_ratios(features(3, 3), torch.zeros(3).long()), "symmetric"),
        (lambda: motif_ratios(torch.ones(3, 3), torch.zeros(2).long()), "expected 3 labels"),
        (lambda: motif_ratios(torch.zeros(0, 0), torch.zeros(0).long()), "no triangle"),
        (lambda: motif_ratios(torch.eye(3), torch.zeros(3).long()), "no triangle.*raise k"),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
