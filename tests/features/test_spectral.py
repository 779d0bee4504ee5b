"""Places in Laplacian eigenmaps, against an eigenproblem solved another way."""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from advdetect.features import spectral
from advdetect.features.spectral import SpectralFeatures

ENDS = ("b", "d")
UNITS = (8, 24, 8, 30)


def unit_outputs(observation, layer, rows):
    z = np.maximum(observation.layers[layer].double().numpy()[rows, ::2], 0)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def by_hand(reference, rows, new, layer, dimensions):
    """Minus the distances ``(n, classes)`` of new inputs to the classes' centres."""
    landmarks = unit_outputs(reference, layer, rows)
    graph = (landmarks @ landmarks.T).clip(1e-6) ** 2
    np.fill_diagonal(graph, 0)
    degree = np.diag(graph.sum(1))
    # The generalised problem of the Laplacian and the degrees: the random walk's eigenvectors.
    _, vectors = eigh(degree - graph, degree)
    places = vectors[:, 1 : 1 + dimensions]
    places = places / places.std(0, ddof=1)
    edges = unit_outputs(new, layer, slice(None)) @ landmarks.T
    found = []
    for row in edges:
        near = np.argsort(row)[-5:]
        found.append(row[near] @ places[near] / row[near].sum())
    predicted = reference.predicted.numpy()[rows]
    centres = np.stack([places[predicted == c].mean(0) for c in range(3)])
    return -np.linalg.norm(np.array(found)[:, None] - centres, axis=2)


def test_equal_to_distances_worked_out_one_by_one(make_observation, column, monkeypatch):
    monkeypatch.setattr(spectral, "LANDMARKS", 18)
    monkeypatch.setattr(spectral, "DIMENSIONS", 4)
    reference = make_observation([0, 1, 2] * 9, units=UNITS)
    new = make_observation([0, 1, 2, 2], [1, 2, 0, 1], seed=3, units=UNITS)
    feature = SpectralFeatures(3, tuple(reference.layers)).fit(reference)
    rows = feature.rows(new)
    chosen = [j for c in range(3) for j in list(range(c, 27, 3))[:6]]
    near = {layer: by_hand(reference, chosen, new, layer, 4) for layer in ENDS}
    order = new.logits.argsort(1, descending=True).numpy()
    for layer, every in near.items():
        sorted_ = np.take_along_axis(every, order, 1)
        own, runner_up, other = sorted_[:, 0], sorted_[:, 1], sorted_[:, 1:].max(1)
        expected = {"own": own, "other": other, "own minus other": own - other}
        expected["own minus runner-up"] = own - runner_up
        for kind, values in expected.items():
            found = column(feature, rows, layer, f"spectral place, {kind}")
            np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-4)
    moved = np.abs(near["d"] - near["b"]).mean(1)
    found = column(feature, rows, "d", "moved since the layer before")
    np.testing.assert_allclose(found, moved, rtol=1e-3, atol=1e-4)


def test_inputs_fall_near_their_class(make_observation, column):
    reference = make_observation([0, 1, 2] * 40, units=UNITS)
    new = make_observation([0, 1, 2] * 20, seed=5, units=UNITS)
    feature = SpectralFeatures(3, tuple(reference.layers)).fit(reference)
    gap = column(feature, feature.rows(new), "d", "spectral place, own minus other")
    assert (gap > 0).float().mean() > 0.7  # by chance a third


@pytest.mark.parametrize("predicted", [[0, 1], [0, 0, 0, 2], list(range(3)) * 2])
def test_few_landmarks_and_classes_without_any(make_observation, predicted):
    feature = SpectralFeatures(3, tuple("abcd")).fit(make_observation(predicted, units=UNITS))
    rows = feature.rows(make_observation([0, 1, 2], seed=1, units=UNITS))
    assert torch.isfinite(rows).all()


def test_more_classes_than_landmarks(make_observation, monkeypatch):
    monkeypatch.setattr(spectral, "LANDMARKS", 4)
    reference = make_observation(list(range(9)) * 3, classes=9, units=UNITS)
    feature = SpectralFeatures(9, tuple("abcd")).fit(reference)
    assert len(feature.state["classes"]) <= 4
    assert len(feature.state["outputs.b"]) == len(feature.state["classes"])
    assert torch.isfinite(feature.rows(reference)).all()
