"""Clean rows become standard normal; what is unusual does not."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import spearmanr

from advdetect.detectors.reference import (
    FAR,
    LINEAR,
    NORMAL,
    OWN_COVARIANCES,
    CleanReference,
    _to_normal,
    copied,
    distance,
)


@pytest.fixture
def clean():
    """Two classes of normal rows with a covariance of their own."""
    rng = np.random.default_rng(0)
    predicted = np.repeat([0, 1], 500)
    mixing = np.array([[[1, 0.8], [0, 0.6]], [[1, -0.8], [0, 0.6]]])
    rows = np.einsum("ni,nij->nj", rng.normal(size=(1000, 2)), mixing[predicted])
    return rows + 4 * predicted[:, None], predicted


def test_clean_rows_become_standard_normal(clean):
    rows, predicted = clean
    whitened = CleanReference.fit(rows, predicted).whiten(rows, predicted)
    for c in (0, 1):
        own = whitened[predicted == c]
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(np.cov(own.T), np.eye(2), atol=0.15)


def test_on_normal_rows_it_is_the_mahalanobis_distance():
    rng = np.random.default_rng(0)
    mixing = np.array([[1, 0.9], [0, 0.4]])
    rows = rng.normal(size=(2000, 2)) @ mixing
    inverse = np.linalg.inv(np.cov(rows.T))
    classes = np.zeros(2000, int)
    ours = distance(CleanReference.fit(rows, classes).whiten(rows, classes))
    known = [mahalanobis(row, rows.mean(0), inverse) for row in rows]
    assert spearmanr(ours, known).statistic > 0.98


@pytest.mark.parametrize("change", [lambda x: 1e-3 * x + 7, lambda x: -50 * x])
def test_does_not_see_units(clean, change):
    rows, predicted = clean
    before = distance(CleanReference.fit(rows, predicted).whiten(rows, predicted))
    moved = change(rows)
    after = distance(CleanReference.fit(moved, predicted).whiten(moved, predicted))
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_does_not_see_how_a_column_is_bent(clean):
    # Rows between the outer quantiles: beyond them a bend does matter.
    rows, predicted = clean
    bent = np.column_stack([rows[:, 0], np.exp(rows[:, 1] / 2)])
    before = distance(CleanReference.fit(rows, predicted).whiten(rows, predicted))
    after = distance(CleanReference.fit(bent, predicted).whiten(bent, predicted))
    assert spearmanr(before, after).statistic > 0.97


def test_unusual_for_its_class_alone_is_unusual(clean):
    rows, predicted = clean
    reference = CleanReference.fit(rows, predicted)
    row = rows[:1]
    assert (
        distance(reference.whiten(row, np.array([1])))
        > 3
        > distance(reference.whiten(row, np.array([0])))
    )


def test_a_direction_in_which_clean_rows_hardly_vary_weighs_most(clean):
    rows, predicted = clean
    reference = CleanReference.fit(rows, predicted)
    centre = rows[predicted == 0].mean(0)
    along, across = centre + 0.5 * np.array([[1, 0.9]]), centre + 0.5 * np.array([[0.9, -1]])
    first = np.zeros(1, int)
    assert distance(reference.whiten(across, first)) > distance(reference.whiten(along, first)) + 1


def test_a_rare_class_is_held_against_all_clean_rows(clean):
    rows, predicted = clean
    predicted = np.where(np.arange(1000) < 5, 9, predicted)
    reference = CleanReference.fit(rows, predicted)
    np.testing.assert_array_equal(
        reference.whiten(rows[:5], np.full(5, 9)), reference.whiten(rows[:5], np.full(5, 123))
    )


def test_only_the_largest_classes_have_a_covariance_of_their_own():
    rng = np.random.default_rng(0)
    predicted = np.repeat(np.arange(70), np.arange(10, 80))
    rows = rng.normal(size=(len(predicted), 2))
    reference = CleanReference.fit(rows, predicted)
    assert len(reference.arrays["maps"]) == OWN_COVARIANCES + 2
    assert reference.arrays["which"].tolist() == [0] * 6 + list(range(2, 66)) + [1]
    spread = [
        reference.whiten(rows[predicted == c], predicted[predicted == c]).std() for c in (6, 69)
    ]
    np.testing.assert_allclose(spread, 1, atol=0.4)


def test_rows_beyond_all_bounds_stay_within(clean):
    rows, predicted = clean
    reference = CleanReference.fit(rows, predicted)
    far = reference.whiten(np.array([[1e30, -1e30], [1e31, -1e31]]), np.zeros(2, int))
    np.testing.assert_array_equal(far[0], far[1])
    assert np.isfinite(far).all()
    assert distance(far).min() > np.log(FAR)


def test_a_usual_row_scores_about_zero(clean):
    rows, predicted = clean
    scores = distance(CleanReference.fit(rows, predicted).whiten(rows, predicted))
    assert np.log(np.exp(scores).mean()) == pytest.approx(0, abs=0.2)


def test_between_knots_values_are_numpys(clean):
    rows, predicted = clean
    rows = np.column_stack([rows, np.round(rows[:, 0])])  # many rows share a value
    arrays = CleanReference.fit(rows, predicted).arrays
    at = np.concatenate([rows, arrays["knots"]])
    at = at.clip(arrays["knots"][0], arrays["knots"][-1])  # beyond the last knots it goes on
    found = _to_normal(*map(torch.tensor, (at, arrays["knots"], arrays["tails"]))).numpy()
    normal = np.stack(
        [np.interp(x, xs, NORMAL) for x, xs in zip(at.T, arrays["knots"].T, strict=True)], axis=1
    )
    spread = np.maximum(arrays["knots"].std(0), arrays["tails"].mean(0))
    plain = (at - arrays["knots"].mean(0)) / spread
    np.testing.assert_allclose(found, (normal + LINEAR * plain) / (1 + LINEAR), atol=1e-12)


def parts_of(reference, rows, predicted):
    whitened, parts = reference.whitened_parts(*copied(rows, predicted))
    np.testing.assert_array_equal(whitened, reference.whiten(rows, predicted))
    return parts.numpy()


def test_parts_of_a_distance_sum_to_its_square_and_follow_the_column(clean):
    rows, predicted = clean
    reference = CleanReference.fit(rows, predicted)
    whole = (reference.whiten(rows, predicted) ** 2).sum(1)
    np.testing.assert_allclose(parts_of(reference, rows, predicted).sum(1), whole)
    centre = rows[predicted == 0].mean(0)
    away = parts_of(reference, centre[None] + np.array([[0, 30.0]]), np.zeros(1, int))
    assert away[0, 1] > 0.9 * away.sum()


def test_gradients_flow_after_rows_were_judged_in_inference_mode(clean):
    rows, predicted = clean
    reference = CleanReference.fit(rows, predicted)
    with torch.inference_mode():
        reference.whiten(rows, predicted)
    inputs = torch.tensor(rows, requires_grad=True)
    reference.soft_whiten(inputs, torch.tensor(predicted)).sum().backward()
    assert inputs.grad.abs().sum() > 0


@pytest.mark.parametrize("constant", [0.0, 700.0])
def test_a_column_that_does_not_vary_says_nothing(clean, constant):
    rows, predicted = clean
    held = np.full((len(rows), 1), constant)
    reference = CleanReference.fit(np.hstack([rows, held]), predicted)
    new = np.hstack([rows, held + [[1e-3]]])
    expected = CleanReference.fit(rows, predicted).whiten(rows, predicted)
    np.testing.assert_allclose(
        (reference.whiten(new, predicted) ** 2).sum(1), (expected**2).sum(1), rtol=1e-5
    )
    np.testing.assert_allclose(parts_of(reference, new, predicted)[:, 2], 0, atol=1e-12)
