"""Edges to landmarks and their agreement, against cosines worked out one by one."""

import numpy as np
import pytest
import torch

from advdetect.features.base import Observation
from advdetect.features.graph_edges import DEGREE, PER_CLASS, GraphFeatures

ENDS = ("b", "d")  # of four layers, every second one, counted from the last


def cosine(a, b):
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def outputs(observation, layer, i):
    """After ReLU, of every second unit."""
    return np.maximum(observation.layers[layer][i].double().numpy()[::2], 0)


def landmarks_of(reference, classes):
    predicted = reference.predicted.tolist()
    return [
        (c, j)
        for c in range(classes)
        for j in [k for k, found in enumerate(predicted) if found == c][:PER_CLASS]
    ]


def strongest(values):
    return float(np.mean(sorted(values)[-DEGREE:]))


def by_hand(reference, new, classes, i):
    """Columns of input ``i``, as {(layer, meaning): value}."""
    landmarks = landmarks_of(reference, classes)
    edges = {
        layer: np.array(
            [cosine(outputs(new, layer, i), outputs(reference, layer, j)) for _, j in landmarks]
        )
        for layer in ENDS
    }
    found = {}
    order = new.logits[i].argsort(descending=True).tolist()
    for layer, values in edges.items():
        by_class = [
            strongest([v for v, (c, _) in zip(values, landmarks, strict=True) if c == k] or values)
            for k in range(classes)
        ]
        own, other = by_class[order[0]], max(by_class[k] for k in order[1:])
        found[layer, "edges, own"] = own
        found[layer, "edges, other"] = other
        found[layer, "edges, own minus other"] = own - other
        found[layer, "edges, own minus runner-up"] = own - by_class[order[1]]
    top = {
        layer: np.where(values >= sorted(values)[-min(DEGREE, len(values))], values, 0)
        for layer, values in edges.items()
    }
    found["b", "top-5 edges agree with d"] = cosine(top["b"], top["d"])
    found["b", "all edges agree with d"] = cosine(edges["b"], edges["d"])
    return found


@pytest.mark.parametrize(
    "counts",
    [
        {0: 12, 1: 12, 2: 15},  # more of each class than become landmarks
        {0: 12, 1: 7, 2: 4},  # unequal, the last fewer than the strongest edges that count
        {0: 2, 1: 1, 2: 1},  # fewer landmarks altogether
        {0: 6, 2: 8},  # a class never predicted
    ],
)
def test_equal_to_cosines_one_by_one(make_observation, column, counts):
    predicted = [c for c, n in counts.items() for _ in range(n)]
    units = (8, 24, 8, 31)
    reference = make_observation(predicted[::-1], units=units)
    new = make_observation([0, 1, 2, 0, 2], [1, 2, 0, 2, 1], seed=3, units=units)
    feature = GraphFeatures(3, ("a", "b", "c", "d")).fit(reference)
    rows = feature.rows(new)
    for i in range(5):
        expected = by_hand(reference, new, 3, i)
        assert set(expected) == set(feature.columns)
        for (layer, meaning), value in expected.items():
            found = column(feature, rows, layer, meaning)[i].item()
            assert found == pytest.approx(value, abs=2e-6), (layer, meaning)


def test_a_landmark_has_an_edge_of_1_to_itself(make_observation, column):
    reference = make_observation([0, 1, 2], [1, 2, 0], units=(30, 30))
    feature = GraphFeatures(3, ("a", "b")).fit(reference)
    own = column(feature, feature.rows(reference), "b", "edges, own")
    torch.testing.assert_close(own, torch.ones(3))


def test_every_layer_is_compared_with_the_next_and_the_last():
    feature = GraphFeatures(3, ("a", "b", "c", "d", "e", "f", "g"))
    pairs = [
        (layer, meaning.rpartition(" ")[2])
        for layer, meaning in feature.columns
        if meaning.startswith("all edges agree")
    ]
    assert pairs == [("a", "c"), ("c", "e"), ("e", "g"), ("a", "g"), ("c", "g")]


def test_a_silent_layer_gives_finite_columns(make_observation):
    reference = make_observation([0, 1, 2, 0, 1, 2], units=(10, 10, 10))
    feature = GraphFeatures(3, ("a", "b", "c")).fit(reference)
    silent = Observation(
        reference.logits[:2], {name: -z[:2].abs() for name, z in reference.layers.items()}
    )
    rows = feature.rows(silent)
    assert torch.isfinite(rows).all()
    assert rows.abs().max() == 0
