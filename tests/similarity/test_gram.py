"""Centring against the definitions written out."""

import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity.gram import (
    centred,
    cosine,
    distances,
    double_centred,
    full_rank,
    paired,
    standardised,
    u_centred,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def symmetric(n: int) -> torch.Tensor:
    x = normal(n, n)
    return x + x.T


def test_double_centring_is_a_product_with_the_centring_matrix() -> None:
    centre = torch.eye(7).double() - 1 / 7
    torch.testing.assert_close(double_centred(symmetric(7)), centre @ symmetric(7) @ centre)


def test_u_centring_as_defined() -> None:
    n = 7
    a = symmetric(n).fill_diagonal_(0)
    rows = a.sum(1)
    expected = a - rows / (n - 2) - rows[:, None] / (n - 2) + a.sum() / ((n - 1) * (n - 2))
    expected.fill_diagonal_(0)
    found = u_centred(symmetric(n))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), torch.zeros(n).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(u_centred(symmetric(n) + 5), expected)
    torch.testing.assert_close(u_centred(found), found)


def test_centring_is_exact_under_a_large_mean() -> None:
    x = normal(9, 3).round(decimals=2)
    moved = (x * 64).round() / 64 + 2**16  # all digits fit into single precision
    exact = moved - moved.mean(0)
    torch.testing.assert_close(centred(moved.float()).double(), exact, rtol=0, atol=1e-6)
    assert (centred(torch.full((9, 3), 0.1)) == 0).all()


def test_standardised_largest_entry_is_one() -> None:
    assert standardised(1e-30 * normal(9, 3).float() + 0).abs().max().item() == pytest.approx(1)
    assert standardised(torch.ones(9, 3)).tolist() == 9 * [[0, 0, 0]]
    assert standardised(torch.ones(9, 0)).shape == (9, 0)


@pytest.mark.parametrize("exponent", [0.5, 1, 1.5, 2])
def test_distances_to_a_power(exponent: float) -> None:
    x, y = normal(6, 3, seed=1), normal(5, 3, seed=2)
    torch.testing.assert_close(distances(x, y, exponent=exponent), torch.cdist(x, y) ** exponent)
    torch.testing.assert_close(distances(x, exponent=exponent), torch.cdist(x, x) ** exponent)
    assert (distances(x).diagonal() == 0).all()


def test_full_rank_keeps_the_left_singular_vectors() -> None:
    x = normal(8, 3) @ normal(3, 5)
    found = full_rank(x)
    assert found.shape == (8, 3)
    torch.testing.assert_close(found @ found.T, x @ x.T)
    assert full_rank(torch.zeros(8, 5)).shape == (8, 0)
    assert full_rank(normal(4, 9)).shape == (4, 4)


def test_cosine_of_nothing_is_zero() -> None:
    zero, one = torch.zeros((), requires_grad=True), torch.ones(())
    value = cosine(zero, zero, one)
    value.backward()
    assert value == 0
    assert zero.grad == 0


def test_pairing_takes_the_widest_type() -> None:
    half, single, double = (
        torch.ones(3, 2, dtype=t) for t in (torch.half, torch.float, torch.double)
    )
    assert [m.dtype for m in paired(half, half)] == 2 * [torch.float32]
    assert [m.dtype for m in paired(half, single, double)] == 3 * [torch.float64]
    with pytest.raises(InputError, match="pair up, got 3 and 2"):
        paired(single, single, single[:2])
