"""Weights worked out by hand, and steps of the walk."""

import numpy as np
import pytest

from advdetect.detectors.graphs import LIMIT, MainDirections, self_tuned_weights, walk_from


def test_three_points_on_a_line():
    weights, units = self_tuned_weights(np.array([[0.0], [1.0], [3.0]]), neighbors=1)
    np.testing.assert_allclose(units, [1, 1, 2])
    np.testing.assert_allclose(weights[0, 1], np.exp(-1))
    np.testing.assert_allclose(weights[1, 2], np.exp(-4 / 2))
    np.testing.assert_allclose(weights[0, 2], np.exp(-9 / 2))
    np.testing.assert_array_equal(weights, weights.T)
    assert not weights.diagonal().any()


def test_fewer_neighbours_than_asked_for_take_the_farthest():
    _, units = self_tuned_weights(np.array([[0.0], [1.0], [3.0]]), neighbors=10)
    np.testing.assert_allclose(units, [3, 2, 3])


def test_does_not_see_scale():
    points = np.random.default_rng(0).normal(size=(30, 3))
    weights, _ = self_tuned_weights(points, 5)
    np.testing.assert_allclose(self_tuned_weights(1e3 * points, 5)[0], weights)


def test_copies_are_joined_and_finite():
    weights, _ = self_tuned_weights(np.repeat([[0.0], [1.0]], 20, axis=0), 10)
    np.testing.assert_allclose(weights[0, 1], 1)
    np.testing.assert_allclose(weights[0, 39], 0, atol=1e-12)


def test_a_step_from_between_two_nodes_goes_to_either():
    nodes, units = np.array([[-1.0], [1.0]]), np.array([2.0, 2.0])
    steps = walk_from(np.array([[0.0], [-1.0]]), nodes, units, 1)
    np.testing.assert_allclose(steps[0], [0.5, 0.5])
    # The nearest node is the point itself: the unit is that of the graph, 2.
    np.testing.assert_allclose(steps[1], np.array([1, np.exp(-1)]) / (1 + np.exp(-1)))


@pytest.mark.parametrize("far", [1e3, 1e9])
def test_a_step_from_far_away_goes_somewhere(far):
    nodes = np.random.default_rng(0).normal(size=(20, 2))
    _, units = self_tuned_weights(nodes, 3)
    steps = walk_from(np.full((1, 2), far), nodes, units, 3)
    np.testing.assert_allclose(steps.sum(), 1)


def test_main_directions_find_the_group_that_differs():
    rows = np.random.default_rng(0).normal(size=(200, 5))
    rows[:100, 3] += 4
    seen = MainDirections.of(rows, 2)
    assert abs(seen.basis[3, 0]) > 0.95
    np.testing.assert_allclose(seen.basis.T @ seen.basis, np.eye(2), atol=1e-12)


def test_main_directions_do_not_follow_one_outlier():
    rows = np.random.default_rng(0).normal(size=(200, 5))
    rows[0, 1] = 1e6
    assert abs(MainDirections.of(rows, 1).basis[1, 0]) < 0.95
    assert np.abs(MainDirections.of(rows, 5)(rows)).max() < 2 * LIMIT * 5**0.5
