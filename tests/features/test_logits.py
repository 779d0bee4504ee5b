"""How decided the classifier is."""

import math

import pytest
import torch

from advdetect.features.base import Observation
from advdetect.features.logits import LogitFeatures


def test_worked_out_by_hand(column):
    logits = torch.tensor([[2.0, 5, 1, 4.6]])
    feature = LogitFeatures(4, ())
    rows = feature.rows(Observation(logits, {}))
    total = sum(math.exp(v) for v in (2, 5, 1, 4.6))
    mean = 12.6 / 4
    expected = {
        "highest": 5,
        "gap to second": 0.4,
        "gap to third": 3,
        "energy": math.log(total),
        "log of the rest": math.log(1 - math.exp(5) / total + 1e-6),
        "mean": mean,
        "deviation": (sum((v - mean) ** 2 for v in (2, 5, 1, 4.6)) / 3) ** 0.5,
        "log of the gap": math.log(0.4 + 1e-3),
        "gap within 0.1": math.exp(-4),
        "gap within 0.4": math.exp(-1),
        "gap within 1.5": math.exp(-0.4 / 1.5),
    }
    assert [meaning for _, meaning in feature.columns] == list(expected)
    for meaning, value in expected.items():
        assert column(feature, rows, "", meaning).item() == pytest.approx(value, rel=1e-4), meaning


def test_of_two_classes_the_second_is_also_the_third(column):
    feature = LogitFeatures(2, ())
    rows = feature.rows(Observation(torch.tensor([[1.0, 3]]), {}))
    assert column(feature, rows, "", "gap to third").item() == 2
    assert column(feature, rows, "", "gap to second").item() == 2


def test_a_sure_answer_and_a_tie_are_finite():
    rows = LogitFeatures(3, ()).rows(Observation(torch.tensor([[1000.0, 0, 0], [1, 1, 1]]), {}))
    assert torch.isfinite(rows).all()
