"""Made-up forward passes of known numbers."""

import pytest
import torch

from advdetect.features.base import Observation


@pytest.fixture
def make_observation():
    """``make(predicted, runner_up=None, seed=0, classes=3, units=...)``: random pre-activations."""

    def make(predicted, runner_up=None, *, seed=0, classes=3, units=(40, 30, 20), sharpness=None):
        generator = torch.Generator().manual_seed(seed)
        n = len(predicted)
        logits = torch.rand(n, classes, generator=generator)
        logits[torch.arange(n), torch.tensor(predicted)] += 3
        if runner_up is not None:
            logits[torch.arange(n), torch.tensor(runner_up)] += 1.5
        # Each class has a tendency of its own in every unit, as in a trained network.
        layers = {}
        for name, width in zip("abcdefgh", units, strict=False):
            tendency = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
            noise = torch.randn(n, width, generator=generator)
            layers[name] = tendency[torch.tensor(predicted)] + noise
        return Observation(logits, layers, sharpness)

    return make


@pytest.fixture
def column():
    """``column(feature, rows, layer, meaning)``: one column of a family's rows."""

    def find(feature, rows, layer, meaning):
        return rows[:, feature.columns.index((layer, meaning))]

    return find
