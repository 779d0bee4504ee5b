"""Sizes of pre-activations."""

import pytest
import torch

from advdetect.features.base import Observation
from advdetect.features.magnitudes import MagnitudeFeatures


def test_worked_out_by_hand(column):
    # Every second unit counts: 3, -1, 0.1, -4; their mean magnitude is 2.025.
    z = torch.tensor([[3.0, 77, -1, 77, 0.1, 77, -4, 77]])
    feature = MagnitudeFeatures(2, ("a",))
    observation = Observation(torch.tensor([[1.0, 0]]), {"a": z})
    rows = feature.fit(observation).rows(observation)
    expected = {
        "mean output": 3.1 / 4,
        "mean inhibition": 5 / 4,
        "norm": (9 + 1 + 0.01 + 16) ** 0.5,
        "share of bits about to flip": 1 / 4,  # 0.1 is below a tenth of 2.025
    }
    for meaning, value in expected.items():
        assert column(feature, rows, "a", meaning).item() == pytest.approx(value), meaning


def test_gradients_are_those_of_the_sizes():
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z.requires_grad_()
    logits = torch.eye(3, 4)
    feature = MagnitudeFeatures(4, ("a",))
    smooth = [0, 1, 2]  # a share of bits is counted

    def rows(values):
        return feature.rows(Observation(logits, {"a": values}, 4.0))[:, smooth]

    assert torch.autograd.gradcheck(rows, z)
