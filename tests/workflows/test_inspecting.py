"""Models that mislead attacks, each with the fault that is to be found."""

import pytest
import torch
from torch import nn

from advdetect.workflows.inspecting import inspect_model


class Shown(nn.Module):
    """A linear classifier whose answer is changed on the way out."""

    def __init__(self, change):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        nn.init.eye_(self.linear.weight)
        self.change = change

    def forward(self, images):
        return self.change(self.linear(images.flatten(1)))


def inspect(change):
    torch.manual_seed(0)
    images = torch.rand(20, 1, 2, 2)
    model = Shown(change).train()
    labels = model.linear(images.flatten(1)).argmax(1)
    found = inspect_model(model, images, labels)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    return found


def noisy(logits):
    return logits + torch.randn_like(logits)


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (lambda z: z, set()),
        (lambda z: 30 * z, set()),
        (lambda z: z.softmax(1), {"probabilities"}),
        (lambda z: (10 * z).round(), {"zero_gradients"}),
        (lambda z: z * 1e9, {"exploding_gradients"}),
    ],
)
def test_each_fault_shows_in_every_image_and_no_other_does(change, faults):
    assert inspect(change) == {
        name: float(name in faults)
        for name in (
            "probabilities",
            "random",
            "zero_gradients",
            "exploding_gradients",
            "eps_0_changes",
        )
    }


def test_a_random_model_also_changes_its_mind_at_eps_0():
    found = inspect(noisy)
    assert found["random"] == 1
    assert found["eps_0_changes"] > 0.1
    assert found["probabilities"] == found["zero_gradients"] == found["exploding_gradients"] == 0


def test_gradients_that_do_not_flow_are_zero():
    assert inspect(lambda z: z.detach() + 0 * z.sum())["zero_gradients"] == 1
