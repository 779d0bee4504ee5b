"""Nearest landmarks, against a search through all of them."""

import pytest
import torch

from advdetect.features.base import Observation
from advdetect.features.neighbors import NEIGHBORS, PER_CLASS, NeighborFeatures


def landmarks_of(reference, c):
    """The first ``PER_CLASS`` reference rows of a class, found one by one."""
    rows = [j for j in range(len(reference.logits)) if reference.predicted[j] == c]
    return rows[:PER_CLASS]


def nearest(reference, new, layer, i, members):
    """Mean Hamming similarity of input ``i`` to its nearest among ``members``."""
    bits = new.layers[layer][i] > 0
    near = [((reference.layers[layer][j] > 0) == bits).double().mean().item() for j in members]
    best = sorted(near)[-NEIGHBORS:]
    return sum(best) / len(best)


@pytest.mark.parametrize(
    "counts",
    [
        {0: 200, 1: 160, 2: 30},  # more landmarks than are kept, and fewer
        {0: 7, 1: 3, 2: 1},  # fewer than are asked for
    ],
)
def test_equal_to_a_search_through_all(make_observation, column, counts):
    predicted = [c for c, n in counts.items() for _ in range(n)]
    order = torch.randperm(len(predicted), generator=torch.Generator().manual_seed(7)).tolist()
    reference = make_observation([predicted[i] for i in order])
    pairs = [(0, 1), (1, 0), (2, 1), (0, 2), (1, 2)]
    new = make_observation([own for own, _ in pairs], [other for _, other in pairs], seed=2)
    feature = NeighborFeatures(3, ("a", "b", "c")).fit(reference)
    rows = feature.rows(new)
    for layer in ("a", "c"):  # the ends of blocks: every second layer, counted from the last
        for i, (own, other) in enumerate(pairs):
            near = [
                nearest(reference, new, layer, i, landmarks_of(reference, c)) for c in (own, other)
            ]
            expected = {
                "nearest of own class": near[0],
                "nearest of runner-up class": near[1],
                "own minus runner-up": near[0] - near[1],
            }
            for meaning, value in expected.items():
                found = column(feature, rows, layer, meaning)[i].item()
                assert found == pytest.approx(value, abs=1e-6)
    assert {layer for layer, _ in feature.columns} == {"a", "c"}


def test_a_reference_input_finds_itself(make_observation, column):
    reference = make_observation([0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2, 0])
    feature = NeighborFeatures(3, ("a",)).fit(
        Observation(reference.logits, {"a": reference.layers["a"]})
    )
    one = Observation(reference.logits[:1], {"a": reference.layers["a"][:1]})
    # Class 0 has two landmarks: the input itself, and row 3.
    twin = ((reference.layers["a"][0] > 0) == (reference.layers["a"][3] > 0)).double().mean()
    found = column(feature, feature.rows(one), "a", "nearest of own class").item()
    assert found == pytest.approx((1 + twin.item()) / 2, abs=1e-6)


def test_a_class_without_landmarks_is_answered_from_all(make_observation, column):
    reference = make_observation([0, 0, 0, 2, 2, 2, 2])
    new = make_observation([1, 0], [2, 1], seed=4)
    feature = NeighborFeatures(3, ("a", "b", "c")).fit(reference)
    rows = feature.rows(new)
    everyone = range(7)
    own = column(feature, rows, "c", "nearest of own class")[0].item()
    runner_up = column(feature, rows, "c", "nearest of runner-up class")[1].item()
    assert own == pytest.approx(nearest(reference, new, "c", 0, everyone), abs=1e-6)
    assert runner_up == pytest.approx(nearest(reference, new, "c", 1, everyone), abs=1e-6)
