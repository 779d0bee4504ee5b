"""Distance from what is usual."""

import numpy as np
import pytest
import torch

from advdetect.detectors.clean_only import CleanOnlyDetector


@pytest.fixture
def clean():
    rng = np.random.default_rng(0)
    predicted = np.repeat([0, 1], 400)
    rows = rng.normal(size=(800, 3)) * np.where(predicted, 10, 1)[:, None]
    return rows, predicted


def test_scores_rise_with_the_distance_from_a_class(clean):
    detector = CleanOnlyDetector().fit(clean[0], predicted=clean[1])
    away = np.outer(np.arange(1, 12), np.ones(3))
    assert (np.diff(detector.decision_function(away, predicted=np.zeros(11, int))) > 0).all()


def test_deviations_are_in_units_of_the_class(clean):
    detector = CleanOnlyDetector().fit(clean[0], predicted=clean[1])
    row = np.full((1, 3), 6.0)
    narrow, wide = (detector.decision_function(row, predicted=np.array([c])) for c in (0, 1))
    assert narrow > 1.5 > 0 > wide


def test_scores_are_comparable_over_classes(clean):
    rows, predicted = clean
    scores = (
        CleanOnlyDetector()
        .fit(rows, predicted=predicted)
        .decision_function(rows, predicted=predicted)
    )
    medians = [np.median(scores[predicted == c]) for c in (0, 1)]
    np.testing.assert_allclose(medians, np.log(2.366 / 3), atol=0.15)  # of chi squared, 3 degrees


def test_either_way_is_unusual(clean):
    detector = CleanOnlyDetector().fit(clean[0], predicted=clean[1])
    usual = detector.decision_function(clean[0][:400], predicted=clean[1][:400])
    both = detector.decision_function([[8.0, 0, 0], [-8.0, 0, 0]], predicted=[0, 0])
    assert both.min() > np.quantile(usual, 0.98)


def test_soft_score_is_the_score_and_leads_uphill(clean):
    rows, predicted = clean
    detector = CleanOnlyDetector().fit(rows, predicted=predicted)
    inputs, classes = torch.tensor(rows, requires_grad=True), torch.tensor(predicted)
    soft = detector.soft_score(inputs, classes, torch.ones(3))
    np.testing.assert_allclose(
        soft.detach(), detector.decision_function(rows, predicted=predicted), rtol=1e-6
    )
    soft.sum().backward()
    moved = rows + 1e-3 * inputs.grad.numpy()
    assert (detector.decision_function(moved, predicted=predicted) > soft.detach().numpy()).all()
