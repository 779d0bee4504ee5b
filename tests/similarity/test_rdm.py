"""RDMs and their comparison against SciPy."""

import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from advdetect.errors import InputError
from advdetect.similarity.bits import BitCodes
from advdetect.similarity.rdm import (
    correlation_rdm,
    correlation_rsa,
    euclidean_rdm,
    euclidean_rsa,
    hamming_rdm,
    hamming_rsa,
    pearson_rsa,
    spearman_rsa,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("rdm", "name"), [(correlation_rdm, "correlation"), (euclidean_rdm, "euclidean")]
)
def test_rdms_against_scipy(rdm, name: str) -> None:
    x = normal(12, 5) + 3
    expected = torch.from_numpy(squareform(pdist(x.numpy(), name)))
    torch.testing.assert_close(rdm(x), expected)
    assert (rdm(x).diagonal() == 0).all()
    torch.testing.assert_close(rdm(x.float()), expected.float())


def test_hamming_rdm_against_scipy() -> None:
    bits = normal(12, 37) > 0
    expected = torch.from_numpy(squareform(pdist(bits.numpy(), "hamming"))).float()
    torch.testing.assert_close(hamming_rdm(BitCodes.pack(bits)), expected)


def test_a_row_of_equal_features_correlates_with_none() -> None:
    x = normal(4, 5)
    x[2] = 0.1
    rdm = correlation_rdm(x.requires_grad_())
    assert rdm[2].tolist() == [1, 1, 0, 1]
    rdm.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_opposite_patterns_are_two_apart() -> None:
    rdm = correlation_rdm(torch.tensor([[0.0, 1, 2], [2, 1, 0], [5, 7, 9]]))
    torch.testing.assert_close(rdm, torch.tensor([[0.0, 2, 0], [2, 0, 2], [0, 2, 0]]))


def test_comparisons_against_scipy() -> None:
    # Few levels, so that ranks are shared.
    x, y = normal(12, 3, seed=1).round(), normal(12, 4, seed=2).round()
    rdms = [torch.from_numpy(squareform(pdist(m.numpy(), "cityblock"))) for m in (x, y)]
    flat = [squareform(rdm.numpy()) for rdm in rdms]
    assert pearson_rsa(*rdms).item() == pytest.approx(pearsonr(*flat).statistic)
    assert spearman_rsa(*rdms).item() == pytest.approx(spearmanr(*flat).statistic)


def test_ranks_do_not_see_a_monotone_change() -> None:
    x, y = euclidean_rdm(normal(9, 3, seed=1)), euclidean_rdm(normal(9, 3, seed=2))
    torch.testing.assert_close(spearman_rsa(x.exp(), y), spearman_rsa(x, y))
    assert abs(pearson_rsa(x.exp(), y) - pearson_rsa(x, y)) > 1e-3


def test_measures_put_rdm_and_comparison_together() -> None:
    x, y = normal(12, 5, seed=1), normal(12, 4, seed=2)
    flat = [pdist(m.numpy(), "correlation") for m in (x, y)]
    assert correlation_rsa(x, y).item() == pytest.approx(spearmanr(*flat).statistic)
    flat = [pdist(m.numpy(), "euclidean") for m in (x, y)]
    assert euclidean_rsa(x, y).item() == pytest.approx(pearsonr(*flat).statistic)
    flat = [pdist((m > 0).numpy(), "hamming") for m in (x, y)]
    assert hamming_rsa(x, y).item() == pytest.approx(pearsonr(*flat).statistic, abs=1e-6)


def test_equal_dissimilarities_compare_as_zero() -> None:
    assert pearson_rsa(1 - torch.eye(4), euclidean_rdm(normal(4, 2).float())).item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pearson_rsa(normal(3, 4), normal(3, 4)), r"dissimilarities, got \(3, 4\)"),
        (lambda: spearman_rsa(normal(3, 3), normal(4, 4)), "pair up, got 3 and 4"),
        (lambda: pearson_rsa(normal(2, 2), normal(2, 2)), "at least 3 rows, got 2"),
        (lambda: correlation_rdm(normal(3)), r"got \(3,\)"),
        (lambda: euclidean_rdm(normal(3, 2) / 0), "must be finite"),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
