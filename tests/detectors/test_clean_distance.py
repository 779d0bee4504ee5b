"""How far rows are from clean ones, and columns that an attack raises."""

import numpy as np
import pytest
import torch

from advdetect.detectors.base import ColumnRoles
from advdetect.detectors.clean_distance import CleanDistance
from advdetect.detectors.reference import RIDGE, CleanReference, distance

COUNTED, RISING = [0, 1, 3], [3, 4, 5]


def mask(columns, d=6):
    return np.isin(np.arange(d), columns)


ROLES = ColumnRoles(mask(COUNTED), mask(RISING))


@pytest.fixture
def clean():
    """Two classes; the rising columns 3 to 5 are correlated, and of other units."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 6))
    rows[:, 4] += 0.8 * rows[:, 3]
    predicted = np.repeat([0, 1], 300)
    rows[:, :3] += predicted[:, None]
    return rows * [1, 1, 1, 5, 0.1, 1] + [0, 0, 0, 3, 0, -7], predicted


@pytest.fixture
def fitted(clean):
    return CleanDistance.fit(*clean, ROLES)


def lift_by_hand(clean, rows):
    """Generalised least squares: the common shift of the rising columns over its error."""
    known = clean[:, RISING]
    inverse = np.linalg.inv(np.corrcoef(known.T) + RIDGE * np.eye(3))
    deviations = (rows[:, RISING] - known.mean(0)) / known.std(0)
    shift = deviations @ inverse.sum(1) / inverse.sum()
    return shift * np.sqrt(inverse.sum())


def lift_of(fitted, rows):
    return fitted._lifted(torch.tensor(rows)).sum(1).numpy()


def moved(clean, *steps):
    """A usual row of the first class, moved by some deviations of each rising column."""
    rows, predicted = clean
    centre = np.where(mask(RISING), rows.mean(0), rows[predicted == 0].mean(0))
    spread = np.where(mask(RISING), rows.std(0), 0)
    way = np.zeros((len(steps), 6))
    way[:, RISING] = steps
    return centre + way * spread, np.zeros(len(steps), np.int64)


def test_without_roles_it_is_the_mean_square_of_all_columns(clean):
    known = CleanReference.fit(*clean)
    ours = CleanDistance.fit(*clean).score(*clean)
    np.testing.assert_allclose(ours, distance(known.whiten(*clean)), rtol=1e-12)


def test_the_squared_lift_is_added_to_the_mean_square_of_what_is_counted(clean, fitted):
    rows, predicted = clean
    counted = CleanReference.fit(rows[:, COUNTED], predicted).whiten(rows[:, COUNTED], predicted)
    lift = np.maximum(lift_by_hand(rows, rows), 0)
    by_hand = np.log((counted**2).mean(1) + lift**2 / 3)
    np.testing.assert_allclose(fitted.score(rows, predicted), by_hand, rtol=1e-6)


def test_the_lift_of_clean_rows_is_about_standard_normal(clean, fitted):
    lift = lift_of(fitted, clean[0])
    assert abs(lift.mean()) < 1e-9
    assert lift.std() == pytest.approx(1, abs=0.02)


def test_what_is_neither_counted_nor_rises_says_nothing(clean, fitted):
    rows, predicted = clean
    other = rows.copy()
    other[:, 2] = 1e6
    np.testing.assert_array_equal(fitted.score(other, predicted), fitted.score(rows, predicted))


def test_all_up_together_is_unusual_and_up_and_down_is_not(clean):
    # Columns that rise, and are not counted themselves.
    fitted = CleanDistance.fit(*clean, ColumnRoles(mask([0, 1]), mask(RISING)))
    rows, classes = moved(clean, (0, 0, 0), (3, 3, 3), (-3, -3, -3), (3, -3, 0))
    usual, up, down, both = fitted.score(rows, classes)
    assert up > usual + 3
    assert down == pytest.approx(usual, abs=1e-6)
    # The second follows the first among clean rows: against it, it is above what is usual, a bit.
    assert both < up - 2


@pytest.mark.parametrize("rising", [RISING, []])
def test_parts_sum_to_the_score(clean, rising):
    fitted = CleanDistance.fit(*clean, ColumnRoles(mask(COUNTED), mask(rising)))
    _, parts = fitted.explained(*clean)
    assert parts.shape == clean[0].shape
    np.testing.assert_allclose(parts.sum(1), fitted.score(*clean), rtol=1e-6, atol=1e-9)
    assert (parts[:, 2] == 0).all()


def test_what_is_up_speaks_for_an_attack(clean, fitted):
    parts = fitted.explained(*moved(clean, (0, 4, 4)))[1][0]
    assert (parts[[4, 5]] > 0.5).all()
    assert (parts[[0, 1]] < 0.1).all()


def test_a_column_that_never_varies_is_left_out(clean):
    # As colour of grey pictures, which is 0 in all of them.
    rows, predicted = clean
    grey = rows.copy()
    grey[:, [4, 5]] = [0, 1e3]
    fitted = CleanDistance.fit(grey, predicted, ROLES)
    assert fitted.arrays["rising"].tolist() == [3]
    assert np.isfinite(fitted.score(grey, predicted)).all()
    grey[:, 3] = 7
    assert "rising" not in CleanDistance.fit(grey, predicted, ROLES).arrays


def test_no_column_that_is_up_speaks_against_an_attack(clean):
    # The last rising column nearly is the sum of the others: least squares would subtract it.
    rows, predicted = clean
    rows = rows.copy()
    rows[:, 5] = rows[:, 3] / 5 + rows[:, 4] / 0.1 + 0.1 * rows[:, 5]
    fitted = CleanDistance.fit(rows, predicted, ROLES)
    inverse = np.linalg.inv(np.corrcoef(rows[:, RISING].T) + RIDGE * np.eye(3))
    assert inverse.sum(1)[2] < 0
    assert fitted.arrays["weights"].min() == 0
    assert lift_of(fitted, rows).std() == pytest.approx(1, abs=0.02)


def test_gradients_are_those_of_the_score(clean, fitted):
    rows, classes = moved(clean, (0.3, 1, 2), (2, 1, 0.5), (-1, -2, -0.5))
    inputs = torch.tensor(rows, requires_grad=True)
    fitted.soft_score(inputs, torch.tensor(classes)).sum().backward()
    for column, unit in enumerate(clean[0].std(0)):
        step = np.where(mask([column]), 1e-6 * unit, 0)
        change = fitted.score(rows + step, classes) - fitted.score(rows - step, classes)
        np.testing.assert_allclose(
            inputs.grad[:, column] * unit, change / 2e-6, rtol=1e-3, atol=1e-6
        )


def test_arrays_make_the_same_distance_again(clean, fitted):
    again = CleanDistance(fitted.arrays)
    np.testing.assert_array_equal(again.score(*clean), fitted.score(*clean))


def test_beyond_all_bounds_further_says_no_more(clean, fitted):
    rows, predicted = clean
    for far in (1e12, -1e12):
        near = fitted.score(rows + far, predicted)
        np.testing.assert_array_equal(fitted.score(rows + 10 * far, predicted), near)
        assert np.isfinite(near).all()


def test_a_gradient_after_scores_in_inference_mode(clean, fitted):
    rows, predicted = torch.tensor(clean[0], dtype=torch.float32), torch.tensor(clean[1])
    with torch.inference_mode():
        before = fitted.soft_score(rows, predicted)
    inputs = rows.clone().requires_grad_()
    after = fitted.soft_score(inputs, predicted)
    after.sum().backward()
    assert torch.equal(before, after.detach())
    assert after.dtype == torch.float32
    assert inputs.grad.isfinite().all()


def test_a_row_of_distance_0_has_parts(clean):
    rows, predicted = clean
    fitted = CleanDistance.fit(rows, predicted, ROLES)
    centre = moved(clean, (-1, -1, -1))[0][0]
    low, high = centre.copy(), centre + 5 * mask([0, 1])
    for _ in range(60):  # halve the way until the score is 0
        middle = (low + high) / 2
        above = fitted.score(middle[None], np.zeros(1, np.int64))[0] > 0
        low, high = (low, middle) if above else (middle, high)
    _, parts = fitted.explained(low[None], np.zeros(1, np.int64))
    assert np.isfinite(parts).all()
    assert abs(parts.sum()) < 1e-6
