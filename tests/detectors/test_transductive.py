"""The cut of a batch finds the attacked rows without a label."""

import numpy as np
import pytest

from advdetect.detectors.transductive import embed, transductive_cut
from advdetect.errors import InputError


@pytest.fixture
def clean():
    """Clean reference rows of two classes."""
    rng = np.random.default_rng(0)
    predicted = np.repeat([0, 1], 200)
    return rng.normal(size=(400, 6)) + 5 * predicted[:, None], predicted


def batch(shift, n=40, seed=1):
    """As many attacked rows as clean ones in each of two classes."""
    rng = np.random.default_rng(seed)
    predicted, attacked = np.repeat([0, 1], 2 * n), np.tile([False, True], 2 * n)
    rows = rng.normal(size=(4 * n, 6)) + 5 * predicted[:, None]
    rows[attacked, :3] += shift
    return rows, predicted, attacked


@pytest.mark.parametrize("shift", [4, -4])
def test_finds_the_attacked_side(clean, shift):
    rows, predicted, attacked = batch(shift)
    cut = transductive_cut(rows, predicted, *clean)
    assert (cut.side == attacked).mean() > 0.97
    np.testing.assert_array_equal(cut.side, cut.vector > 0)
    assert sorted(cut.partitions) == [0, 1]


def test_the_order_of_the_batch_does_not_matter(clean):
    rows, predicted, _ = batch(3)
    order = np.random.default_rng(0).permutation(len(rows))
    cut = transductive_cut(rows, predicted, *clean)
    mixed = transductive_cut(rows[order], predicted[order], *clean)
    np.testing.assert_array_equal(mixed.side, cut.side[order])
    np.testing.assert_allclose(mixed.vector, cut.vector[order], atol=1e-8)


def test_classes_are_cut_apart(clean):
    rows, predicted, _ = batch(3)
    first = predicted == 0
    alone = transductive_cut(rows[first], predicted[first], *clean)
    both = transductive_cut(rows, predicted, *clean)
    np.testing.assert_allclose(alone.vector, both.vector[first], atol=1e-8)


def test_partitions_hold_the_cut_of_each_class(clean):
    rows, predicted, _ = batch(4)
    cut = transductive_cut(rows, predicted, *clean)
    for c, partition in cut.partitions.items():
        own = cut.vector[predicted == c]
        np.testing.assert_allclose(np.abs(own), partition.vector.abs())
        assert 0 < partition.eigenvalue < 1


def test_classes_of_few_rows_are_left_uncut(clean):
    rows, predicted, _ = batch(4)
    predicted = np.where(np.arange(len(rows)) < 9, 7, predicted)
    cut = transductive_cut(rows, predicted, *clean)
    assert 7 not in cut.partitions
    assert not cut.side[:9].any()
    assert not cut.vector[:9].any()


def test_the_plane_shows_what_is_cut(clean):
    rows, predicted, attacked = batch(4)
    first = predicted == 0
    plane = embed(rows[first], predicted[first], *clean)
    cut = transductive_cut(rows[first], predicted[first], *clean)
    assert plane.shape == (80, 2)
    # The same vector, in another length; Lanczos or not, it is one graph.
    assert np.corrcoef(plane[:, 0], cut.vector)[0, 1] > 0.999
    assert plane[attacked[first], 0].mean() > plane[~attacked[first], 0].mean()


def test_refuses_shapes_that_do_not_fit(clean):
    rows, predicted, _ = batch(4)
    with pytest.raises(InputError, match=r"of one width, got \(160, 5\) and \(400, 6\)"):
        transductive_cut(rows[:, :5], predicted, *clean)
    with pytest.raises(InputError, match="a predicted class for each of 160 rows and 400 clean"):
        transductive_cut(rows, predicted[:9], *clean)
    with pytest.raises(InputError, match=r"got shapes \(160,\) and \(7,\)"):
        embed(rows, predicted, clean[0], clean[1][:7])


def test_refuses_rows_that_are_not_finite(clean):
    rows, predicted, _ = batch(4)
    rows[3, 3] = np.nan
    with pytest.raises(InputError, match="must be finite"):
        transductive_cut(rows, predicted, *clean)


def test_refuses_to_compare_with_nothing(clean):
    rows, predicted, _ = batch(4)
    with pytest.raises(InputError, match="at least 2, got 1"):
        transductive_cut(rows, predicted, clean[0][:1], clean[1][:1])
    with pytest.raises(InputError, match="a plane of cuts needs at least 3 rows, got 2"):
        embed(rows[:2], predicted[:2], *clean)
