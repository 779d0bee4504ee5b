"""Logistic regression: standardised by clean rows, balanced, and open about its parts."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from advdetect.detectors.logistic import FAR, LogisticDetector


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [90, 30])
    return rng.normal(size=(120, 3)) * [1, 5, 0.1] + y[:, None] * [1, 0, 0.1], y


def test_agrees_with_scikit_learn(rows):
    X, y = rows
    clean = X[y == 0]
    Z = (X - clean.mean(0)) / clean.std(0)
    other = LogisticRegression(C=0.5, class_weight="balanced", max_iter=5000).fit(Z, y)
    ours = LogisticDetector(C=0.5).fit(X, y)
    np.testing.assert_allclose(ours.decision_function(X), other.decision_function(Z), atol=1e-3)


def test_two_mirrored_points_meet_at_log_odds_zero():
    X, y = np.array([[-1.0], [-3.0], [1.0], [3.0]]), [0, 0, 1, 1]
    scores = LogisticDetector().fit(X, y).decision_function([[0.0], [-2.0], [2.0]])
    np.testing.assert_allclose(scores[0], 0, atol=1e-3)
    np.testing.assert_allclose(scores[1], -scores[2], atol=1e-3)


def test_the_number_of_adversarial_rows_does_not_matter(rows):
    X, y = rows
    more = np.concatenate([X, X[y == 1], X[y == 1]])
    one = LogisticDetector(C=1e6).fit(X, y).decision_function(X)
    labels = np.concatenate([y, np.ones(60, int)])
    np.testing.assert_allclose(
        LogisticDetector(C=1e6).fit(more, labels).decision_function(X), one, atol=2e-2
    )


def test_a_row_without_weight_is_not_there(rows):
    X, y = rows
    weight = np.ones(len(X))
    weight[-10:] = 0
    with_all = LogisticDetector().fit(X, y, sample_weight=weight).coefficients_
    # The penalty is against the sum of weights, so that the same rows are left.
    without = LogisticDetector().fit(X[:-10], y[:-10]).coefficients_
    np.testing.assert_allclose(with_all, without, atol=1e-3)


def test_contributions_and_intercept_sum_to_the_score(rows):
    detector = LogisticDetector().fit(*rows)
    parts = detector.contributions(rows[0])
    np.testing.assert_allclose(
        parts.sum(1) + detector.intercept_[0], detector.decision_function(rows[0])
    )


def test_beyond_ten_deviations_a_feature_says_no_more(rows):
    detector = LogisticDetector().fit(*rows)
    edge = detector.centre_ + FAR * detector.scale_
    scores = detector.decision_function(np.stack([edge, edge + 5 * detector.scale_]))
    np.testing.assert_allclose(scores[0], scores[1])


def test_soft_score_is_the_score_and_has_its_gradient(rows):
    detector = LogisticDetector().fit(*rows)
    X = torch.tensor(rows[0], requires_grad=True)
    soft = detector.soft_score(X, torch.zeros(len(X), dtype=torch.int64), torch.ones(X.shape[1]))
    np.testing.assert_allclose(soft.detach(), detector.decision_function(rows[0]))
    soft.sum().backward()
    np.testing.assert_allclose(X.grad[0], detector.coefficients_ / detector.scale_)


def test_further_along_what_is_suspicious_is_never_less_so_however_far(rows):
    detector = LogisticDetector().fit(*rows)
    direction = np.sign(detector.coefficients_) * detector.scale_
    far = np.concatenate([np.linspace(0, 2 * FAR, 50), 10.0 ** np.arange(2, 9)])
    for start in rows[0][:10]:
        scores = detector.decision_function(start + far[:, None] * direction)
        assert (np.diff(scores) >= 0).all()
        assert scores[-1] > scores[0]
