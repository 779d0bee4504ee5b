"""Gradients by smoothing against gradients that are known."""

import numpy as np
import pytest
import torch

from advdetect.detectors.smoothing import smoothed


def gradient(score, X, spread, **options):
    X = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    value = smoothed(score, X, torch.tensor(spread, dtype=torch.float64), **options)
    value.sum().backward()
    return value.detach().numpy(), X.grad.numpy()


def test_the_value_is_the_score_itself():
    X = np.random.default_rng(0).normal(size=(5, 3))
    value, _ = gradient(lambda rows: rows[:, 0] ** 3, X, np.ones(3), width=1.0)
    np.testing.assert_array_equal(value, X[:, 0] ** 3)


def test_on_average_a_linear_score_gets_its_own_gradient():
    weights = np.array([2.0, -1.0, 0.5, 0.0])
    X = np.zeros((400, 4))
    _, found = gradient(lambda rows: rows @ weights, X, [1.0, 10.0, 0.1, 1.0], width=0.3)
    # Of one row the estimate is rough; the mean of many is the gradient, column by column.
    error = np.abs(found.mean(0) - weights)
    assert (error < 4 * found.std(0) / 20).all()
    assert (found.std(0) < [20, 2, 200, 20]).all()


@pytest.mark.parametrize("width", [0.1, 1.0])
def test_of_a_step_it_is_the_density_of_the_moves(width):
    # d/dx P(x + width u > 0) at 0 is the normal density: 1 / (width sqrt(2 pi)).
    _, found = gradient(
        lambda rows: (rows[:, 0] > 0).astype(float), np.zeros((500, 1)), [1.0], width=width
    )
    assert found.mean() == pytest.approx(1 / (width * np.sqrt(2 * np.pi)), rel=0.05)


def test_a_row_is_scored_with_its_own_class():
    classes = np.array([0, 1, 2])
    seen = []

    def score(rows):
        seen.append(len(rows))
        return np.tile(classes, len(rows) // 3) * rows[:, 0]

    _, found = gradient(score, np.ones((3, 1)), [1.0], width=0.5)
    assert len(seen) == 1
    assert found[0, 0] == 0
    assert found[2, 0] > found[1, 0] > 0
