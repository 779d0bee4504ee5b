"""Splits cover the pictures, never mix, and stay what they are."""

import pytest
import torch

from advdetect.data.splits import shuffled, split_rows


@pytest.mark.parametrize("n", [3, 10, 1797])
def test_shares_cover_every_row_once(n):
    splits = split_rows(torch.arange(n), {})
    assert torch.cat(list(splits.values())).sort().values.tolist() == list(range(n))


def test_shares_are_half_a_fifth_and_the_rest():
    splits = split_rows(torch.arange(1000), {})
    assert {name: len(rows) for name, rows in splits.items()} == {
        "reference": 500,
        "calibration": 200,
        "evaluation": 300,
    }


def test_the_order_never_changes():
    # NumPy's frozen stream; a guard fitted with one version is evaluated with the next.
    assert shuffled(torch.arange(10)).tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]


def test_a_part_for_evaluation_leaves_the_pool_to_the_others():
    splits = split_rows(torch.arange(70), {"evaluation": torch.arange(70, 80)})
    assert {name: len(rows) for name, rows in splits.items()} == {
        "reference": 50,
        "calibration": 20,
        "evaluation": 10,
        "train": 70,
        "test": 10,
    }
    pooled = torch.cat([splits["reference"], splits["calibration"]])
    assert sorted(pooled.tolist()) == list(range(70))
    assert sorted(splits["test"].tolist()) == list(range(70, 80))


def test_a_part_for_calibration_leaves_the_pool_to_the_others():
    splits = split_rows(torch.arange(80), {"calibration": torch.tensor([80, 81])})
    assert [len(rows) for rows in splits.values()] == [50, 2, 30]
    assert "train" not in splits  # the pool holds evaluation pictures


def test_a_split_without_rows_is_left_out():
    assert split_rows(torch.arange(0), {"calibration": torch.tensor([3])}).keys() == {"calibration"}
    assert split_rows(torch.arange(1), {}).keys() == {"calibration"}
