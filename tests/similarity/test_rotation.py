"""Wide features in fewer columns: nothing that a rotation leaves alone changes."""

import pytest
import torch

from advdetect.similarity import MEASURES
from advdetect.similarity.rotation import in_fewer_columns

BLIND_TO_ROTATION = sorted(set(MEASURES) - {"correlation_rsa", "hamming_rsa", "pwcca"})


def wide(seed):
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(20, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    mixed = shared @ torch.randn(4, 70, generator=generator, dtype=torch.float64)
    return mixed + 0.3 * torch.randn(20, 70, generator=generator, dtype=torch.float64)


def test_inner_products_stay():
    x = wide(0)
    narrow = in_fewer_columns(x)
    assert narrow.shape == (20, 20)
    torch.testing.assert_close(narrow @ narrow.T, x @ x.T)


def test_near_duplicates_stay_apart_in_single_precision():
    x = 100 + wide(0).float()
    x[1] = x[0]
    x[1, 0] += 1e-2
    narrow = in_fewer_columns(x)
    assert (narrow[1] - narrow[0]).norm().item() == pytest.approx(1e-2, rel=0.05)


def test_narrow_features_are_left_alone():
    x = torch.rand(9, 5)
    assert in_fewer_columns(x) is x


@pytest.mark.parametrize("name", BLIND_TO_ROTATION)
def test_measures_blind_to_rotation_do_not_change(name):
    x, y = wide(1), wide(2)
    expected = MEASURES[name](x, y).item()
    found = MEASURES[name](in_fewer_columns(x), in_fewer_columns(y)).item()
    assert found == pytest.approx(expected, abs=1e-8)
