"""Log-odds plus distance: what looks like attacks seen, and what is merely unusual."""

import numpy as np
import pytest
import torch

from advdetect.detectors.clean_only import CleanOnlyDetector
from advdetect.detectors.hybrid import HybridDetector
from advdetect.detectors.logistic import LogisticDetector

D = 5


@pytest.fixture
def rows():
    """Attacks seen move the first column; columns 1 and 2 of clean rows go together."""
    rng = np.random.default_rng(0)
    y, predicted = np.repeat([0, 1], [300, 100]), np.tile([0, 1], 200)
    X = rng.normal(size=(400, D)) + predicted[:, None]
    X[:, 2] = X[:, 1] + 0.1 * rng.normal(size=400)
    X[:, 0] += 2 * y
    return X, y, predicted


def scores(detector, rows):
    X, y, predicted = rows
    return detector.fit(X, y, predicted=predicted).decision_function(X, predicted=predicted)


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_the_score_is_the_sum_of_both(rows, weight):
    parts = scores(LogisticDetector(C=0.1), rows), scores(CleanOnlyDetector(), rows)
    both = scores(HybridDetector(C=0.1, distance_weight=weight), rows)
    np.testing.assert_allclose(both, parts[0] + weight * parts[1], rtol=1e-9)


def test_finds_an_attack_of_a_kind_that_it_has_not_seen(rows):
    X, y, predicted = rows
    clean = X[y == 0]
    other = clean + np.array([0, 1, -1, 0, 0])  # against what goes together
    labels, classes = np.repeat([0, 1], 300), np.tile(predicted[y == 0], 2)
    found = {
        weight: HybridDetector(C=0.1, distance_weight=weight)
        .fit(X, y, predicted=predicted)
        .score(np.concatenate([clean, other]), labels, predicted=classes)
        for weight in (0.0, 4.0)
    }
    assert found[0.0] < 0.7
    assert found[4.0] > 0.99


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_contributions_and_intercept_sum_to_the_score(rows, weight):
    X, y, predicted = rows
    detector = HybridDetector(distance_weight=weight).fit(X, y, predicted=predicted)
    parts = detector.contributions(X, predicted=predicted)
    np.testing.assert_allclose(
        parts.sum(1) + detector.logistic_.intercept_[0],
        detector.decision_function(X, predicted=predicted),
    )


@pytest.mark.parametrize("away", [1.5, 6.0])
def test_what_is_unusual_speaks_for_an_attack_and_what_is_usual_against(rows, away):
    # At 1.5 deviations the row as a whole is more usual than most: its distance is below 0.
    X, y, predicted = rows
    detector = HybridDetector(distance_weight=2.0).fit(X, y, predicted=predicted)
    row = np.median(X[(y == 0) & (predicted == 0)], axis=0)[None]
    row[0, 4] += away
    known = {"predicted": np.zeros(1, int)}
    of_distance = detector.contributions(row, **known) - detector.logistic_.contributions(
        row, **known
    )
    assert of_distance[0, 4] > 0
    assert (of_distance[0, :4] < 0).all()
    assert (of_distance.sum() > 0) == (away > 2)


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_soft_score_is_the_score_and_has_its_gradient(rows, weight):
    X, y, predicted = rows
    detector = HybridDetector(C=0.1, distance_weight=weight).fit(X, y, predicted=predicted)
    inputs, classes = torch.tensor(X[:50], requires_grad=True), torch.tensor(predicted[:50])
    soft = detector.soft_score(inputs, classes, torch.ones(D))
    np.testing.assert_allclose(
        soft.detach(), detector.decision_function(X[:50], predicted=predicted[:50]), rtol=1e-6
    )
    soft.sum().backward()
    step = 1e-6
    for column in range(D):
        move = step * (np.arange(D) == column)
        ahead, behind = (
            detector.decision_function(X[:50] + way * move, predicted=predicted[:50])
            for way in (1, -1)
        )
        np.testing.assert_allclose(
            inputs.grad[:, column], (ahead - behind) / (2 * step), rtol=1e-3, atol=1e-4
        )
