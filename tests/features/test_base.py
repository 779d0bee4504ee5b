"""Observations, and what families share."""

import torch

from advdetect.features.base import Observation, block_ends, choose_landmarks


def test_the_highest_and_second_highest_logit_name_classes():
    observation = Observation(torch.tensor([[1.0, 5, 3], [0, -2, -1]]), {})
    assert observation.predicted.tolist() == [1, 0]
    assert observation.runner_up.tolist() == [2, 2]


def test_a_bit_is_1_where_the_pre_activation_is_above_0():
    observation = Observation(torch.ones(1, 2), {"a": torch.tensor([[-1.0, 0.0, 1e-30, 7]])})
    assert observation.bits["a"].tolist() == [[0, 0, 1, 1]]
    assert observation.bits["a"].dtype == torch.float32


def test_soft_bits_approach_the_true_ones():
    z = torch.tensor([[-2.0, -0.5, 0.5, 1.0]])  # mean magnitude 1
    soft = Observation(torch.ones(1, 2), {"a": z}, sharpness=3.0).bits["a"]
    torch.testing.assert_close(soft, torch.sigmoid(3 * z))
    sharp = Observation(torch.ones(1, 2), {"a": z}, sharpness=1e3).bits["a"]
    assert sharp.tolist() == [[0, 0, 1, 1]]


def test_block_ends_are_every_second_layer_counted_from_the_last():
    assert block_ends(("a", "b", "c", "d", "e")) == ("a", "c", "e")
    assert block_ends(("a", "b", "c", "d")) == ("b", "d")
    assert block_ends(("a",)) == ("a",)


def test_landmarks_are_the_first_of_each_class():
    predicted = torch.tensor([2, 0, 2, 0, 0, 2, 2])
    rows, classes = choose_landmarks(predicted, 3, 2)
    assert rows.tolist() == [1, 3, 0, 2]
    assert classes.tolist() == [0, 0, 2, 2]
