"""Distance correlation against published answers, the dcor library, and linear CKA."""

import importlib
import math

import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity import distance_covariance
from advdetect.similarity.cka import linear_cka, unbiased_linear_cka
from advdetect.similarity.distance_correlation import (
    distance_correlation,
    independence_t_test,
    partial_distance_correlation,
    semi_partial_distance_correlation,
    squared_distance_correlation,
    unbiased_squared_distance_correlation,
)
from advdetect.similarity.distance_covariance import (
    partial_distance_covariance,
    squared_distance_covariance,
    unbiased_squared_distance_covariance,
)
from advdetect.similarity.gram import distances, u_centred


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def related() -> list[torch.Tensor]:
    common = normal(50, 2, seed=1)
    return [torch.cat([common, normal(50, width, seed=width)], 1) for width in (1, 3, 4)]


@pytest.fixture(scope="module")
def dcor():
    threads = torch.get_num_threads()
    library = importlib.import_module("dcor")
    torch.set_num_threads(threads)  # the import takes all cores, for torch as well
    return library


@pytest.fixture(params=[512, 17], ids=["one tile", "tiles"])
def tile_rows(request, monkeypatch) -> None:
    monkeypatch.setattr(distance_covariance, "TILE_ROWS", request.param)


def test_published_pair() -> None:
    x, y = column(1, 2, 3, 4, 5, 6), column(1, 7, 5, 5, 6, 2)
    assert squared_distance_covariance(x, y).item() == pytest.approx(0.685185, abs=5e-7)
    assert squared_distance_correlation(x, y).item() == pytest.approx(0.306610, abs=5e-7)
    assert distance_correlation(x, y).item() == pytest.approx(0.306610**0.5, abs=1e-6)
    unbiased = [unbiased_squared_distance_covariance(*pair).item() for pair in ((x, y), (x, x))]
    assert unbiased == pytest.approx([-0.888889, 1.55556], abs=5e-6)
    assert unbiased_squared_distance_covariance(y, y).item() == pytest.approx(2.93333, abs=5e-6)
    found = unbiased_squared_distance_correlation(x, y)
    assert found.item() == pytest.approx(-0.416125, abs=5e-7)


def test_published_matrices() -> None:
    x = torch.arange(1.0, 10).double().view(3, 3)
    y = torch.tensor([[7, 3, 6], [2, 1, 4], [3, 8, 1]]).double()
    z = torch.tensor([[1, 1, 1], [2, 1, 1], [1, 1, 1]]).double()
    assert squared_distance_correlation(x, y).item() == pytest.approx(0.93387, abs=5e-6)
    assert squared_distance_correlation(x, z).item() == pytest.approx(10**-0.5)


def test_published_partial_correlations() -> None:
    a, b, c = column(1, 1, 2, 2, 3), column(1, 2, 1, 2, 1), column(1, 2, 2, 1, 2)
    assert partial_distance_correlation(a, b, c).item() == pytest.approx(-0.5)
    assert partial_distance_correlation(a, a, c).item() == pytest.approx(1)
    assert partial_distance_correlation(a, c, c).item() == 0


def test_published_partial_covariances() -> None:
    a = torch.arange(1.0, 17).double().view(4, 4)
    b = column(1, 0, 0, 1)
    c = torch.tensor([[1, 3, 4], [5, 7, 8], [9, 11, 15], [13, 15, 16]]).double()
    assert partial_distance_covariance(a, a, c).item() == pytest.approx(0.0024298, abs=1e-7)
    assert partial_distance_covariance(a, b, c).item() == pytest.approx(0.0347030, abs=1e-7)
    assert partial_distance_covariance(b, b, c).item() == pytest.approx(0.4956241, abs=1e-7)


@pytest.mark.parametrize(("rho", "published"), [(0.5, 0.20623), (0.9, 0.75373)])
def test_bivariate_normal(rho: float, published: float) -> None:
    expected = (
        rho * math.asin(rho)
        + math.sqrt(1 - rho**2)
        - rho * math.asin(rho / 2)
        - math.sqrt(4 - rho**2)
        + 1
    ) / (1 + math.pi / 3 - math.sqrt(3))
    assert expected == pytest.approx(published, abs=5e-6)
    x = normal(600, 1, seed=3)
    y = rho * x + math.sqrt(1 - rho**2) * normal(600, 1, seed=4)
    assert unbiased_squared_distance_correlation(x, y).item() == pytest.approx(expected, abs=0.04)


def test_two_coins() -> None:
    # Distances of coins are 0 and 1: distance correlation is the absolute phi coefficient.
    x, y = column(*7 * [0], *9 * [1]), column(*5 * [0], *2 * [1], *1 * [0], *8 * [1])
    phi = torch.corrcoef(torch.cat([x, y], 1).T)[0, 1].abs()
    torch.testing.assert_close(distance_correlation(x, y), phi)


@pytest.mark.parametrize(("n", "p", "biased"), [(128, 10, 0.222), (128, 512, 0.942)])
def test_unrelated_features_at_few_rows(n: int, p: int, biased: float) -> None:
    x, y = normal(n, p, seed=1), normal(n, p, seed=2)
    assert squared_distance_correlation(x, y).item() == pytest.approx(biased, abs=0.03)
    assert unbiased_squared_distance_correlation(x, y).item() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.7])
def test_against_dcor(exponent: float, tile_rows, dcor) -> None:
    x, y, _ = related()
    for ours, theirs in (
        (distance_correlation, dcor.distance_correlation),
        (squared_distance_correlation, dcor.distance_correlation_sqr),
        (unbiased_squared_distance_correlation, dcor.u_distance_correlation_sqr),
        (squared_distance_covariance, dcor.distance_covariance_sqr),
        (unbiased_squared_distance_covariance, dcor.u_distance_covariance_sqr),
    ):
        expected = theirs(x.numpy(), y.numpy(), exponent=exponent)
        assert ours(x, y, exponent=exponent).item() == pytest.approx(expected, rel=1e-9)


def test_partial_forms_against_dcor(tile_rows, dcor) -> None:
    x, y, z = related()
    arrays = [m.numpy() for m in (x, y, z)]
    expected = dcor.partial_distance_correlation(*arrays)
    assert partial_distance_correlation(x, y, z).item() == pytest.approx(expected, rel=1e-9)
    expected = dcor.partial_distance_covariance(*arrays)
    assert partial_distance_covariance(x, y, z).item() == pytest.approx(expected, rel=1e-9)


def test_t_test_against_dcor(tile_rows, dcor) -> None:
    for y in (related()[1], normal(50, 5, seed=9)):
        x = related()[0]
        expected = dcor.independence.distance_correlation_t_test(x.numpy(), y.numpy())
        found = independence_t_test(x, y)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-15)
    assert independence_t_test(x, x).p_value == 0


def test_t_test_keeps_its_level() -> None:
    pairs = [(normal(30, 40, seed=s), normal(30, 40, seed=s + 1000)) for s in range(60)]
    rejected = sum(independence_t_test(*pair).p_value < 0.1 for pair in pairs)
    assert 1 <= rejected <= 13  # binomial, 99 %


@pytest.mark.parametrize(("p", "q"), [(3, 4), (80, 90)])
def test_with_squared_distances_it_is_linear_cka(p: int, q: int, tile_rows) -> None:
    x = normal(50, p, seed=1)
    y = x @ normal(p, q, seed=2) + normal(50, q, seed=3)
    for ours, theirs in (
        (squared_distance_correlation, linear_cka),
        (unbiased_squared_distance_correlation, unbiased_linear_cka),
    ):
        torch.testing.assert_close(ours(x, y, exponent=2), theirs(x, y), rtol=0, atol=1e-10)


def residual(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The part of x's U-centred distances that is orthogonal to z's, written out."""
    a, c = (u_centred(torch.cdist(m, m)) for m in (x, z))
    return a - (a * c).sum() / (c * c).sum() * c


def test_partial_and_semi_partial_by_projection(tile_rows) -> None:
    x, y, z = related()
    a, b = residual(x, z), residual(y, z)
    other = u_centred(torch.cdist(y, y))
    torch.testing.assert_close(
        partial_distance_correlation(x, y, z), (a * b).sum() / (a.norm() * b.norm())
    )
    torch.testing.assert_close(
        semi_partial_distance_correlation(x, y, z), (a * other).sum() / (a.norm() * other.norm())
    )
    torch.testing.assert_close(a.sum(0), torch.zeros(50).double(), rtol=0, atol=1e-10)
    assert (a.diagonal() == 0).all()


def test_without_a_third_variable_partial_forms_are_plain() -> None:
    x, y, _ = related()
    constant = torch.full((50, 2), 0.1).double()
    plain = unbiased_squared_distance_correlation(x, y)
    assert partial_distance_correlation(x, y, constant) == plain
    assert semi_partial_distance_correlation(x, y, constant) == plain
    assert partial_distance_covariance(x, y, constant).item() == pytest.approx(
        unbiased_squared_distance_covariance(x, y).item()
    )


def test_nothing_is_left_beyond_itself() -> None:
    x, y, _ = related()
    assert partial_distance_correlation(x, y, x).item() == 0
    assert semi_partial_distance_correlation(x, y, 3 * x + 1).item() == 0
    assert semi_partial_distance_correlation(x, y, y).item() == pytest.approx(0, abs=1e-12)


def test_covariance_grows_with_scale() -> None:
    x, y, _ = related()
    torch.testing.assert_close(
        squared_distance_covariance(3 * x, y, exponent=1.5),
        3**1.5 * squared_distance_covariance(x, y, exponent=1.5),
    )


def test_rounding_of_equal_distances_is_no_pattern() -> None:
    simplex, y = 0.1 * torch.eye(9).double(), normal(9, 3)
    assert unbiased_squared_distance_correlation(simplex, y).item() == 0
    assert squared_distance_correlation(simplex, simplex).item() == pytest.approx(1)


def test_gradients(monkeypatch) -> None:
    monkeypatch.setattr(distance_covariance, "TILE_ROWS", 4)
    x, y, z = (normal(8, width, seed=width).requires_grad_() for width in (2, 3, 4))
    for measure in (partial_distance_correlation, semi_partial_distance_correlation):
        assert torch.autograd.gradcheck(measure, (x, y, z))
    assert torch.autograd.gradcheck(partial_distance_covariance, (x, y, z))
    assert torch.autograd.gradcheck(lambda a, b: squared_distance_covariance(a, b), (x, y))
    assert torch.autograd.gradcheck(
        lambda a, b: unbiased_squared_distance_correlation(a, b, exponent=0.7), (x, y)
    )


def test_distances_of_near_rows_against_differences() -> None:
    x = normal(30, 5)
    x = torch.cat([x, x + 1e-5])
    x = x - x.mean(0)
    exact = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(distances(x), exact, rtol=1e-4, atol=1e-10)
    torch.testing.assert_close(distances(x.float()).double(), exact, rtol=1e-4, atol=2e-3)
    assert (distances(torch.cat([x, x]).float())[:60, 60:].diagonal() < 2e-3).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: distance_correlation(x, x, exponent=0), "exponent must be above 0 .* got 0"),
        (lambda x: linear_cka(x, x[:3]), "pair up"),
        (lambda x: squared_distance_covariance(x, x, exponent=2.1), "at most 2, got 2.1"),
        (lambda x: partial_distance_correlation(x, x, x[:4]), "pair up, got 5 and 4"),
        (lambda x: partial_distance_correlation(x, x, x / 0), "must be finite"),
        (lambda x: partial_distance_correlation(x[:3], x[:3], x[:3]), "at least 4 rows, got 3"),
        (lambda x: semi_partial_distance_correlation(x, x, x[:4]), "pair up, got 5 and 4"),
        (lambda x: partial_distance_covariance(x, x[:4], x), "pair up, got 5 and 4"),
        (lambda x: unbiased_squared_distance_covariance(x[:3], x[:3]), "at least 4 rows, got 3"),
        (lambda x: independence_t_test(x[:3], x[:3]), "at least 4 rows, got 3"),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(normal(5, 2))
