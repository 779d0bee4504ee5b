"""CKA against answers worked out by hand, published ones, and its own other routes."""

import math

import numpy as np
import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity import cka
from advdetect.similarity.cka import MinibatchCKA, linear_cka, rbf_cka, unbiased_linear_cka


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def published() -> tuple[torch.Tensor, torch.Tensor]:
    """The data of the demonstration that the authors of CKA released."""
    source = np.random.RandomState(1337)
    x = source.randn(100, 10)
    return torch.from_numpy(x), torch.from_numpy(source.randn(100, 10) + x)


@pytest.mark.parametrize(("classes", "groups"), [(4, 2), (6, 3), (10, 5)])
def test_one_hot_classes_against_their_groups(classes: int, groups: int) -> None:
    # Both centred Gram matrices are projections up to scale, onto k-1 and g-1 dimensions,
    # one inside the other. Their cosine is sqrt((g-1)/(k-1)).
    label = torch.arange(classes).repeat(5)
    fine, coarse = torch.eye(classes).double()[label], torch.eye(groups).double()[label % groups]
    expected = math.sqrt((groups - 1) / (classes - 1))
    assert linear_cka(fine, coarse).item() == pytest.approx(expected)


def test_single_columns_score_their_squared_correlation() -> None:
    x = normal(20, 1, seed=1)
    y = x + normal(20, 1, seed=2)
    expected = torch.corrcoef(torch.cat([x, y], 1).T)[0, 1] ** 2
    torch.testing.assert_close(linear_cka(x, y), expected)


def test_published_values() -> None:
    assert linear_cka(*published()).item() == pytest.approx(0.55761, abs=5e-6)
    assert rbf_cka(*published(), bandwidth=0.5).item() == pytest.approx(0.65483, abs=5e-6)
    assert unbiased_linear_cka(*published()).item() == pytest.approx(0.51346, abs=5e-6)


def test_unrelated_features_at_few_rows() -> None:
    x, y = normal(128, 512, seed=1), normal(128, 512, seed=2)
    assert linear_cka(x, y).item() == pytest.approx(0.804, abs=0.01)
    assert unbiased_linear_cka(x, y).item() == pytest.approx(0.001, abs=0.03)


@pytest.mark.parametrize("measure", [linear_cka, unbiased_linear_cka])
@pytest.mark.parametrize(("n", "p"), [(40, 3), (10, 30)])
def test_over_features_and_over_rows_it_is_the_same(measure, n: int, p: int, monkeypatch) -> None:
    x, y = normal(n, p, seed=1), normal(n, p + 1, seed=2)
    found = []
    for cheaper in (True, False):
        monkeypatch.setattr(cka, "_features_are_cheaper", lambda x, y, answer=cheaper: answer)
        found.append(measure(x, y))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-10)


def song(k: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """The unbiased HSIC estimate as it was published, with sums written out."""
    n = len(k)
    k, m = k - torch.diag(k.diagonal()), m - torch.diag(m.diagonal())
    one = torch.ones(n, dtype=k.dtype)
    means = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return ((k * m).sum() + means - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def test_unbiased_terms_are_those_of_song() -> None:
    x, y = normal(30, 4, seed=1), normal(30, 6, seed=2) + 1
    k, m = x @ x.T, y @ y.T
    expected = song(k, m) / (song(k, k) * song(m, m)).sqrt()
    torch.testing.assert_close(unbiased_linear_cka(x, y), expected, rtol=0, atol=1e-12)


def test_rbf_kernels_written_out() -> None:
    x, y = published()
    centre = torch.eye(100, dtype=torch.float64) - 1 / 100
    kernels = []
    for z in (x, y):
        squared = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        sigma = 0.8 * np.median(squared) ** 0.5
        kernels.append(centre @ (-squared / (2 * sigma**2)).exp() @ centre)
    k, m = kernels
    expected = (k * m).sum() / (k.norm() * m.norm())
    assert rbf_cka(x, y, 0.8).item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_wide_rbf_kernel_is_nearly_linear() -> None:
    assert abs(rbf_cka(*published(), bandwidth=100) - linear_cka(*published())) < 1e-3


def test_one_batch_is_the_unbiased_cka() -> None:
    found = MinibatchCKA().update(*published()).compute()
    assert found.item() == pytest.approx(unbiased_linear_cka(*published()).item(), abs=1e-12)


def test_batches_average_terms_not_ratios() -> None:
    x, y = published()
    batches = [(x[:40], y[:40]), (x[40:80], 3 * y[40:80])]
    whole, parts = MinibatchCKA(), [MinibatchCKA().update(*batch) for batch in batches]
    for batch in batches:
        whole.update(*batch)
    terms = [[song(a @ a.T, b @ b.T) for a, b in ((u, v), (u, u), (v, v))] for u, v in batches]
    cross, own_x, own_y = torch.tensor(terms).mean(0)
    assert whole.compute().item() == pytest.approx((cross / (own_x * own_y).sqrt()).item())
    assert parts[0].merge(parts[1]).compute().item() == whole.compute().item()


def test_many_small_batches_come_near_the_whole() -> None:
    x = normal(4000, 6, seed=1)
    y = x @ normal(6, 5, seed=2) + 2 * normal(4000, 5, seed=3)
    batched = MinibatchCKA()
    for rows in torch.arange(4000).split(16):
        batched.update(x[rows].float(), y[rows].float())
    assert abs(batched.compute() - unbiased_linear_cka(x, y)) < 0.03


def test_rounding_of_equal_distances_is_no_pattern() -> None:
    # Each input its own class: nothing is left after U-centring, but for rounding.
    simplex, y = 0.1 * torch.eye(9).double(), normal(9, 3)
    assert unbiased_linear_cka(simplex, y).item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rbf_cka(normal(9, 2), normal(9, 2), 0), "bandwidth must be positive, got 0"),
        (lambda: rbf_cka(normal(9, 2), normal(9, 2), math.nan), "must be positive, got nan"),
        (lambda: MinibatchCKA().compute(), r"no batch yet: call update\(x, y\) first"),
        (lambda: MinibatchCKA().update(normal(3, 2), normal(3, 2)), "at least 4 rows, got 3"),
        (lambda: MinibatchCKA().update(normal(9, 2), normal(8, 2)), "pair up, got 9 and 8"),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
