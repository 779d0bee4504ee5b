"""Columns linear in the bits, against what they stand for."""

import pytest
import torch

from advdetect.features.base import Observation
from advdetect.features.bits import BitFeatures
from advdetect.similarity.bits import BitCodes, hamming_similarity

PREDICTED = [0, 0, 0, 0, 1, 1, 1, 2, 2]


@pytest.fixture
def reference(make_observation):
    return make_observation(PREDICTED, units=(40, 30))


@pytest.fixture
def new(make_observation):
    return make_observation([0, 1, 2, 2], [1, 2, 0, 1], seed=1, units=(40, 30))


@pytest.fixture
def feature(reference):
    return BitFeatures(3, ("a", "b")).fit(reference)


def test_similarity_is_the_average_over_the_codes_of_a_class(feature, reference, new, column):
    rows = feature.rows(new)
    for layer in ("a", "b"):
        codes = [BitCodes.pack(o.layers[layer] > 0) for o in (new, reference)]
        every = hamming_similarity(*codes)
        by_class = torch.stack([every[:, reference.predicted == c].mean(1) for c in range(3)], 1)
        for i, (own, runner_up) in enumerate([(0, 1), (1, 2), (2, 0), (2, 1)]):
            other = max(by_class[i, c] for c in range(3) if c != own)
            expected = {
                "own": by_class[i, own],
                "other": other,
                "own minus other": by_class[i, own] - other,
                "own minus runner-up": by_class[i, own] - by_class[i, runner_up],
            }
            for kind, value in expected.items():
                found = column(feature, rows, layer, f"Hamming similarity, {kind}")[i]
                assert found.item() == pytest.approx(value.item(), abs=1e-6)


def test_log_likelihood_is_that_of_independent_coin_tosses(feature, reference, new, column):
    rows = feature.rows(new)
    for layer in ("a", "b"):
        on = reference.layers[layer] > 0
        by_class = torch.zeros(4, 3, dtype=torch.float64)
        for c in range(3):
            rate = on[reference.predicted == c].double().mean(0).clamp(0.01, 0.99)
            for i in range(4):
                bits = new.layers[layer][i] > 0
                by_class[i, c] = torch.where(bits, rate, 1 - rate).log().mean()
        own = torch.tensor([0, 1, 2, 2])[:, None]
        other = by_class.scatter(1, own, -torch.inf).amax(1)
        found = column(feature, rows, layer, "log-likelihood, own")
        torch.testing.assert_close(found.double(), by_class.gather(1, own)[:, 0])
        found = column(feature, rows, layer, "log-likelihood, other")
        torch.testing.assert_close(found.double(), other)


def test_worked_out_by_hand(column):
    # Class 0 fires as 1100, class 1 as 0110 or 0010, class 2 as 0001.
    fires = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9]])
    reference = Observation(logits, {"a": fires - 0.5})
    feature = BitFeatures(3, ("a",)).fit(reference)
    # Predicted 0, runner-up 2; its bits are 1010, a pre-activation of 0 is off.
    new = Observation(torch.tensor([[5.0, 1, 3]]), {"a": torch.tensor([[2.0, -3, 0.5, 0]])})
    expected = {
        "Hamming similarity, own": 2 / 4,
        "Hamming similarity, other": (2 / 4 + 3 / 4) / 2,  # class 1; class 2 agrees in 1 of 4
        "Hamming similarity, own minus other": 2 / 4 - 5 / 8,
        "Hamming similarity, own minus runner-up": 2 / 4 - 1 / 4,
        "share of bits on": 2 / 4,
        "surely off but on": 1 / 4,  # the third
        "surely on but off": 1 / 4,  # the second
    }
    rows = feature.rows(new)
    for meaning, value in expected.items():
        assert column(feature, rows, "a", meaning).item() == pytest.approx(value, abs=1e-6), meaning


def test_a_class_never_predicted_is_like_all_together(reference, new, column):
    feature = BitFeatures(4, ("a", "b")).fit(
        Observation(torch.cat([reference.logits, torch.zeros(9, 1)], 1), reference.layers)
    )
    logits = torch.tensor([[0.0, 1, 2, 9]])
    one = Observation(logits, {name: z[:1] for name, z in new.layers.items()})
    own = column(feature, feature.rows(one), "a", "Hamming similarity, own")
    codes = [BitCodes.pack(o.layers["a"] > 0) for o in (one, reference)]
    assert own.item() == pytest.approx(hamming_similarity(*codes).mean().item(), abs=1e-6)


def test_state_holds_a_rate_for_each_class_and_unit(feature):
    assert {name: tuple(t.shape) for name, t in feature.state.items()} == {
        "a": (3, 40),
        "b": (3, 30),
    }
