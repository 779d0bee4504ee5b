"""CCA, regression and Procrustes against scikit-learn, closed forms and each other."""

import math

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LinearRegression

from advdetect.errors import InputError
from advdetect.similarity.cca import (
    canonical_correlations,
    linear_regression_r2,
    mean_cca,
    mean_squared_cca,
    procrustes_similarity,
    pwcca,
    svcca,
)
from advdetect.similarity.cka import linear_cka


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def orthonormal(n: int, p: int) -> torch.Tensor:
    """Columns of mean 0, at right angles and of length 1."""
    x = normal(n, p)
    return torch.linalg.qr(x - x.mean(0)).Q


def related() -> tuple[torch.Tensor, torch.Tensor]:
    x = normal(80, 4, seed=1)
    return x, x @ normal(4, 3, seed=2) + 2 * normal(80, 3, seed=3)


def test_known_angles_between_two_planes() -> None:
    basis = orthonormal(30, 4)
    angles = torch.tensor([0.3, 1.1]).double()
    x = basis[:, :2] @ torch.diag(torch.tensor([5.0, 1.0]).double())
    y = basis[:, :2] * angles.cos() + basis[:, 2:] * angles.sin()
    cosines = angles.cos()
    torch.testing.assert_close(canonical_correlations(x, y), cosines)
    torch.testing.assert_close(mean_cca(x, y), cosines.mean())
    torch.testing.assert_close(mean_squared_cca(x, y), cosines.square().mean())
    # The first direction carries five sixths of x, in sums of absolute products, and 25 / 26
    # of its variance.
    torch.testing.assert_close(pwcca(x, y), (5 * cosines[0] + cosines[1]) / 6)
    expected = (25 * cosines[0] ** 2 + cosines[1] ** 2) / 26
    torch.testing.assert_close(linear_regression_r2(x, y), expected)


def test_correlations_against_scikit_learn() -> None:
    x, y = related()
    scores = CCA(n_components=3, max_iter=5000, tol=1e-12).fit_transform(x.numpy(), y.numpy())
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(scores[0].T, scores[1].T, strict=True)]
    found = canonical_correlations(x, y)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-6)


def test_published_mean_squared_cca() -> None:
    source = np.random.RandomState(1337)
    x = source.randn(100, 10)
    x, y = torch.from_numpy(x), torch.from_numpy(source.randn(100, 10) + x)
    # Published without centring; mirrored, the data have mean 0 and the same products.
    mirrored = [torch.cat([m, -m]) for m in (x, y)]
    assert mean_squared_cca(*mirrored).item() == pytest.approx(0.54312, abs=5e-6)


def test_regression_against_scikit_learn() -> None:
    x, y = (m.numpy() for m in related())
    left = x - LinearRegression().fit(y, x).predict(y)
    expected = 1 - (left**2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert linear_regression_r2(*related()).item() == pytest.approx(expected)


def test_squared_cca_is_the_cka_of_the_bases() -> None:
    x, y = related()
    bases = [torch.linalg.qr(m - m.mean(0)).Q for m in (x, y)]
    # 3 and 4 dimensions: the mean is over 3, CKA divides by the root of 12.
    expected = linear_cka(*bases) * math.sqrt(4 / 3)
    torch.testing.assert_close(mean_squared_cca(x, y), expected)


def test_svcca_drops_weak_components() -> None:
    basis = orthonormal(30, 4)
    strong = torch.tensor([1.0, 1.0, 0.01]).double()
    x, y = basis[:, :3] * strong, basis[:, [0, 1, 3]] * strong
    assert mean_cca(x, y).item() == pytest.approx(2 / 3)
    assert svcca(x, y).item() == pytest.approx(1)
    assert svcca(x, y, variance=1).item() == pytest.approx(2 / 3)
    assert svcca(x, y, variance=0.3).item() <= 1


def test_as_many_features_as_inputs_explain_everything() -> None:
    x, y = normal(10, 12, seed=1), normal(10, 15, seed=2)
    for measure in (mean_cca, mean_squared_cca, linear_regression_r2, pwcca):
        assert measure(x, y).item() == pytest.approx(1)


def test_dependent_columns_count_once() -> None:
    x, y = related()
    doubled = torch.cat([x, x[:, :2] - x[:, 2:]], 1)
    torch.testing.assert_close(mean_cca(doubled, y), mean_cca(x, y))
    torch.testing.assert_close(pwcca(y, doubled), pwcca(y, x))
    torch.testing.assert_close(linear_regression_r2(y, doubled), linear_regression_r2(y, x))


def test_procrustes_of_single_columns_is_their_correlation() -> None:
    x, y = normal(20, 1, seed=1), normal(20, 1, seed=2)
    expected = torch.corrcoef(torch.cat([x, y], 1).T)[0, 1].abs()
    torch.testing.assert_close(procrustes_similarity(x, y), expected)


def test_procrustes_is_the_best_rotation() -> None:
    x, y = related()
    x, y = x[:, :3] - x[:, :3].mean(0), y - y.mean(0)
    left, _, right = torch.linalg.svd(y.T @ x)
    best = (x * (y @ left @ right)).sum() / (x.norm() * y.norm())
    torch.testing.assert_close(procrustes_similarity(x, y), best)
    turns = [torch.linalg.qr(normal(3, 3, seed=s)).Q for s in range(20)]
    assert all((x * (y @ turn)).sum() / (x.norm() * y.norm()) <= best for turn in turns)


@pytest.mark.parametrize("variance", [0, 1.01, math.nan])
def test_says_what_is_wrong(variance: float) -> None:
    with pytest.raises(InputError, match=f"above 0 and at most 1, got {variance}"):
        svcca(*related(), variance=variance)
