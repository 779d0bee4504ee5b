"""The Fiedler detector against facts of spectral graph theory."""

import numpy as np
import pytest

from advdetect.detectors.fiedler import EVERY_CLASS, FiedlerDetector
from advdetect.errors import InputError


def groups(shift, n=60, d=4, seed=0, classes=1):
    """Clean rows around 0, adversarial ones ``shift`` away, of each class."""
    rng = np.random.default_rng(seed)
    y, predicted = np.tile([0, 1], n * classes), np.repeat(np.arange(classes), 2 * n)
    return rng.normal(size=(2 * n * classes, d)) + shift * y[:, None], y, predicted


def test_groups_without_connection_score_zero_and_one():
    # The Fiedler vector of a graph in two parts is constant on each.
    X, y, _ = groups(1e3)
    scores = FiedlerDetector().fit(X, y).decision_function(X)
    np.testing.assert_allclose(scores, y, atol=1e-6)


@pytest.mark.parametrize("shift", [4, -4])
def test_labels_say_which_side_is_adversarial(shift):
    X, y, _ = groups(shift)
    detector = FiedlerDetector().fit(X, y)
    assert detector.score(X, y) > 0.99
    scores = detector.decision_function(X)
    assert scores[y == 0].mean() == pytest.approx(0, abs=0.1)
    assert scores[y == 1].mean() == pytest.approx(1, abs=0.1)


def test_new_rows_lie_between_the_sides_they_lie_between():
    X, y, _ = groups(6)
    detector = FiedlerDetector().fit(X, y)
    path = np.outer(np.linspace(0, 6, 7), np.ones(4))
    scores = detector.decision_function(path)
    assert scores[0] < 0.2
    assert scores[-1] > 0.8
    assert (np.diff(scores) > -0.02).all()


def test_rows_that_do_not_differ_are_a_toss():
    X, y, _ = groups(0, n=300)
    new, truth, _ = groups(0, n=300, seed=1)
    detector = FiedlerDetector().fit(X, y)
    assert detector.score(new, truth) == pytest.approx(0.5, abs=0.08)
    assert np.abs(detector.decision_function(new)).max() < 10


def test_each_class_is_cut_by_itself():
    # What is adversarial in one class is clean in the other.
    X, y, predicted = groups(5, classes=2)
    X[predicted == 1] = 5 - X[predicted == 1]
    detector = FiedlerDetector().fit(X, y, predicted=predicted)
    assert set(detector.graphs_) == {EVERY_CLASS, 0, 1}
    assert detector.score(X, y, predicted=predicted) > 0.99
    assert detector.score(X, y, predicted=1 - predicted) < 0.05


def test_a_class_with_few_rows_takes_the_graph_of_all():
    X, y, predicted = groups(5)
    predicted = np.where(np.arange(len(X)) < 30, 3, predicted)
    detector = FiedlerDetector().fit(X, y, predicted=predicted)
    assert set(detector.graphs_) == {EVERY_CLASS, 0}
    assert detector.score(X, y, predicted=predicted) > 0.99


def test_nodes_are_capped_and_drawn_by_weight():
    X, y, _ = groups(5, n=100)
    weight = np.where(np.arange(200) < 100, 1e-12, 1.0)
    detector = FiedlerDetector(nodes=40).fit(X, y, sample_weight=weight)
    graph = detector.graphs_[0]
    assert len(graph.arrays["nodes"]) == 40
    late = FiedlerDetector(nodes=40).fit(X, y, sample_weight=np.flip(weight)).graphs_[0]
    assert not np.isin(graph.arrays["nodes"], late.arrays["nodes"]).any()


def test_the_seed_chooses_the_nodes():
    X, y, _ = groups(3, n=100)
    one, same, other = (
        FiedlerDetector(nodes=50, seed=seed).fit(X, y).decision_function(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("parameters", [{"nodes": 3}, {"directions": 0}, {"neighbors": 0}])
def test_refuses_a_graph_without_nodes_directions_or_neighbours(parameters):
    X, y, _ = groups(3)
    with pytest.raises(InputError, match="expected at least 4 nodes, 1 direction and 1 neighbor"):
        FiedlerDetector(**parameters).fit(X, y)
