"""What every detector in the table promises."""

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from advdetect.detectors import DETECTORS
from advdetect.detectors.base import ColumnRoles
from advdetect.errors import InputError


@pytest.fixture(params=DETECTORS.values(), ids=DETECTORS.keys())
def detector(request):
    return request.param()


@pytest.fixture
def blobs():
    """Two classes, clean rows around 0 and 1, adversarial rows 3 further on."""
    rng = np.random.default_rng(0)
    y, predicted = np.tile([0, 1], 120), np.repeat([0, 1], 120)
    X = rng.normal(size=(240, 4)) + 3 * y[:, None] + predicted[:, None]
    return X, y, predicted


# Of the columns of ``blobs`` the third says nothing to a distance.
ROLES = ColumnRoles(np.array([1, 1, 0, 1], bool), np.array([0, 1, 0, 0], bool))


@pytest.fixture(params=[None, ROLES], ids=["columns alike", "columns with roles"])
def fitted(detector, blobs, request):
    X, y, predicted = blobs
    return detector.fit(X, y, predicted=predicted, roles=request.param)


def test_separates_separated_blobs(fitted, blobs):
    assert_separates(fitted, *blobs)


def assert_separates(fitted, X, y, predicted):
    for c in (0, 1):
        own = predicted == c
        assert fitted.score(X[own], y[own], predicted=predicted[own]) > 0.97


def test_score_does_not_depend_on_the_batch(fitted, blobs):
    X, _, predicted = blobs
    alone = [fitted.decision_function(X[[i]], predicted=predicted[[i]])[0] for i in range(115, 125)]
    whole = fitted.decision_function(X, predicted=predicted)
    np.testing.assert_allclose(whole[115:125], alone, rtol=1e-9, atol=1e-12)


def test_rows_may_be_a_view_of_others(fitted, blobs):
    X, _, predicted = blobs
    whole = fitted.decision_function(X, predicted=predicted)
    back = fitted.decision_function(X[::-1], predicted=predicted[::-1])
    np.testing.assert_allclose(back, whole[::-1], rtol=1e-9, atol=1e-12)


def test_contributions_tell_rows_apart_as_scores_do(fitted, blobs):
    X, _, predicted = blobs
    scores, parts = fitted.explained(X, predicted=predicted)
    # To the last bit: p-values count ties.
    np.testing.assert_array_equal(scores, fitted.decision_function(X, predicted=predicted))
    if parts is not None:
        np.testing.assert_array_equal(parts, fitted.contributions(X, predicted=predicted))
        rest = scores - parts.sum(1)
        np.testing.assert_allclose(rest, rest[0], atol=1e-9)


def test_second_fit_forgets_the_first(detector, blobs):
    X, y, predicted = blobs
    first = detector.fit(X[::-1] + 100, y, predicted=predicted + 3, roles=ROLES)
    twice = first.fit(X, y, predicted=predicted).decision_function(X, predicted=predicted)
    once = clone(detector).fit(X, y, predicted=predicted).decision_function(X, predicted=predicted)
    np.testing.assert_array_equal(twice, once)


def test_state_makes_the_same_detector_again(fitted, blobs):
    X, _, predicted = blobs
    parameters, arrays = fitted.state()
    assert all(array.dtype.kind in "fi" for array in arrays.values())
    again = type(fitted).from_state(json.loads(json.dumps(parameters)), arrays)
    np.testing.assert_array_equal(
        again.decision_function(X, predicted=predicted),
        fitted.decision_function(X, predicted=predicted),
    )
    with pytest.raises(ValueError, match="X has 3 features"):
        again.decision_function(X[:, :3], predicted=predicted)


def test_far_rows_have_finite_scores(fitted, blobs):
    X, _, predicted = blobs
    for far in (1e6, -1e12):
        assert np.isfinite(fitted.decision_function(X + far, predicted=predicted)).all()


def test_a_class_that_fitting_has_not_seen_has_finite_scores(fitted, blobs):
    X = blobs[0]
    assert np.isfinite(fitted.decision_function(X, predicted=np.full(len(X), 7))).all()


def test_no_row_has_no_score(fitted):
    scores = fitted.decision_function
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        scores(np.zeros((0, 4)), predicted=np.zeros(0, int))


def test_columns_that_never_vary_do_no_harm(detector, blobs):
    X, y, predicted = blobs
    constant = np.column_stack([X, np.zeros(len(X)), np.full(len(X), 1e3)])
    assert_separates(detector.fit(constant, y, predicted=predicted), constant, y, predicted)


def test_without_predicted_classes_there_is_one(detector, blobs):
    X, y = blobs[0][:120], blobs[1][:120]
    fitted = detector.fit(X, y)
    np.testing.assert_array_equal(
        fitted.decision_function(X), fitted.decision_function(X, predicted=np.zeros(120, int))
    )


def test_refuses_to_score_before_fit(detector, blobs):
    with pytest.raises(NotFittedError):
        detector.decision_function(blobs[0])
    with pytest.raises(NotFittedError):
        detector.state()


def test_refuses_rows_of_another_width(fitted, blobs):
    with pytest.raises(ValueError, match="X has 3 features"):
        fitted.decision_function(blobs[0][:, :3], predicted=blobs[2])


def test_refuses_rows_that_are_not_finite(detector, blobs):
    X, y, predicted = blobs
    with pytest.raises(ValueError, match="NaN"):
        detector.fit(np.vstack([X[:-1], [[np.nan] * 4]]), y, predicted=predicted)


def test_refuses_roles_of_other_columns(detector, blobs):
    X, y, predicted = blobs
    with pytest.raises(InputError, match="a role for each of 3 columns, got 4"):
        detector.fit(X[:, :3], y, predicted=predicted, roles=ROLES)


@pytest.mark.parametrize(("counted", "rising"), [([0, 0], [0, 1]), ([1, 0], [0, 1, 0])])
def test_refuses_roles_that_count_nothing_or_do_not_pair_up(counted, rising):
    with pytest.raises(InputError, match=r"masks of the same columns.*got \(2,\)"):
        ColumnRoles(np.array(counted, bool), np.array(rising, bool))


@pytest.mark.parametrize("name", ["clean-only", "fiedler", "hybrid"])
def test_a_distance_does_not_look_at_what_is_not_counted(blobs, name):
    X, y, predicted = blobs
    fitted = DETECTORS[name]().fit(X, y, predicted=predicted, roles=ROLES)
    other = X.copy()
    other[:, 2] = 1e6

    def scores(detector, rows):
        return detector.decision_function(rows, predicted=predicted)

    change = scores(fitted, other) - scores(fitted, X)
    if name == "hybrid":  # the classifier looks at all columns
        change -= scores(fitted.logistic_, other) - scores(fitted.logistic_, X)
    np.testing.assert_allclose(change, 0, atol=1e-6)
    blind = scores(DETECTORS[name]().fit(X, y, predicted=predicted), X)
    assert not np.allclose(blind, scores(fitted, X))


def test_refuses_classes_that_do_not_pair_up(detector, blobs):
    X, y, predicted = blobs
    with pytest.raises(InputError, match="expected 240 predicted classes"):
        detector.fit(X, y, predicted=predicted[:3])
    with pytest.raises(InputError, match="expected 240 predicted classes from 0"):
        detector.fit(X, y, predicted=predicted - 1)


def test_refuses_labels_of_another_kind_or_number(detector, blobs):
    X, y, predicted = blobs
    wanted = "needs clean rows" if detector.clean_only else "needs labels 0 and 1, both present"
    for wrong in (y + 1, y[:10], np.ones_like(y)):
        with pytest.raises(InputError, match=wanted):
            detector.fit(X, wrong, predicted=predicted)


def test_clean_rows_alone_are_enough_where_it_says_so(detector, blobs):
    X, y, predicted = blobs
    clean = y == 0
    if not detector.clean_only:
        with pytest.raises(InputError, match=r"both present.*got 120 labels \[0\]"):
            detector.fit(X[clean], predicted=predicted[clean])
        return
    alone = clone(detector).fit(X[clean], predicted=predicted[clean])
    both = detector.fit(X, y, predicted=predicted)
    np.testing.assert_array_equal(
        alone.decision_function(X, predicted=predicted),
        both.decision_function(X, predicted=predicted),
    )
