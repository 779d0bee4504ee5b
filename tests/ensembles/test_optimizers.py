"""What a step does to weights, against linear algebra and torch's own optimizers."""

import pytest
import torch
from torch import nn

from advdetect.ensembles.optimizers import OPTIMIZERS, Optimizer
from advdetect.errors import InputError


def network():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 4, 1),
            nn.Flatten(),
            nn.Linear(4 * 8 * 8, 5),
        )


def learn(network, batch):
    """Leave gradients on the network's weights."""
    generator = torch.Generator().manual_seed(batch)
    images = torch.rand(20, 3, 8, 8, generator=generator)
    labels = torch.randint(5, (20,), generator=generator)
    network.zero_grad()
    nn.functional.cross_entropy(network(images), labels).backward()


@pytest.mark.parametrize("layer", [0, 3])
def test_muon_moves_all_directions_of_a_kernel_about_equally_far(layer):
    learned = network()
    optimizer = Optimizer(learned, "muon", weight_decay=0.1)
    learn(learned, 0)
    kernel = learned[layer].weight
    before = kernel.detach().flatten(1)
    before = before / before.norm() * len(kernel) ** 0.5
    left, strengths, right = torch.linalg.svd(kernel.grad.flatten(1), full_matrices=False)
    optimizer.step(0.1)
    moved = left.T @ (before - kernel.detach().flatten(1)) @ right.T / 0.1
    assert strengths.max() > 2 * strengths.min()  # what the gradient itself would do
    # torch makes a step of a kernel longer by this, where it has more rows than columns.
    tall = max(1, len(before) / before.shape[1]) ** 0.5
    # Newton-Schulz steps with torch's coefficients end between .68 and 1.14, in bfloat16.
    lengths = moved.diagonal() / tall
    assert 0.65 < lengths.min() <= lengths.max() < 1.2
    aside = moved - torch.diag(moved.diagonal())
    assert aside.abs().max() < 0.05


def test_what_is_no_kernel_moves_as_by_sgd():
    learned, alike = network(), network()
    optimizer = Optimizer(learned, "muon", weight_decay=0.1)
    learn(learned, 0)
    others = [p for p in alike.parameters() if p.ndim != 4]
    sgd = torch.optim.SGD(others, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1)
    for ours, own in zip(learned.parameters(), alike.parameters(), strict=True):
        own.grad = ours.grad.clone()
    for _ in range(3):
        optimizer.step(0.05)
        sgd.step()
    for ours, own in zip(learned.parameters(), alike.parameters(), strict=True):
        if own.ndim != 4:
            torch.testing.assert_close(ours, own)


def test_muon_takes_no_notice_of_a_kernels_norm():
    # BatchNorm takes the scale away, up to what it adds to the variance.
    large, small = network(), network()
    with torch.no_grad():
        large[0].weight.mul_(1000)
        small[0].weight.mul_(100)
    for learned in (large, small):
        optimizer = Optimizer(learned, "muon", weight_decay=0.1)
        for batch in range(3):
            learn(learned, batch)
            optimizer.step(0.1)
    torch.testing.assert_close(large[0].weight, small[0].weight, rtol=1e-2, atol=1e-2)
    assert 0.9 < large[0].weight.norm() / 6**0.5 < 1.2


def test_muon_leaves_frozen_kernels_alone_and_zeros_finite():
    learned = network()
    learned[0].requires_grad_(requires_grad=False)
    frozen = learned[0].weight.clone()
    with torch.no_grad():
        learned[3].weight.zero_()
    optimizer = Optimizer(learned, "muon", weight_decay=0.1)
    learn(learned, 0)
    optimizer.step(0.1)
    assert torch.equal(learned[0].weight, frozen)
    assert learned[3].weight.isfinite().all()
    assert learned[3].weight.abs().max() > 0


@pytest.mark.parametrize(
    "learned", [nn.Linear(2, 2), nn.Conv2d(1, 2, 1, bias=False)], ids=["no-kernel", "one-kernel"]
)
def test_muon_of_a_network_of_one_kind(learned):
    optimizer = Optimizer(learned, "muon", weight_decay=0)
    before = learned.weight.clone()
    learned.weight.grad = torch.randn_like(learned.weight)
    optimizer.step(0.1)
    assert len(optimizer.momenta()) == 1
    assert not torch.equal(learned.weight, before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_momenta_are_all_that_steps_need_to_go_on(name):
    whole, stopped = network(), network()
    optimizer = Optimizer(whole, name, weight_decay=0.1)
    for batch in range(4):
        learn(whole, batch)
        optimizer.step(0.1)
    optimizer = Optimizer(stopped, name, weight_decay=0.1)
    for batch in range(4):
        if batch == 2:
            momenta = {key: value.clone() for key, value in optimizer.momenta().items()}
            optimizer = Optimizer(stopped, name, weight_decay=0.1)
            optimizer.take_up(momenta)
        learn(stopped, batch)
        optimizer.step(0.1)
    for one, other in zip(whole.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(one, other)
    for after, before in zip(whole.parameters(), network().parameters(), strict=True):
        assert not torch.equal(after, before)


def test_an_old_torch_has_no_muon(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(InputError, match=r"muon needs torch 2.9 or newer, this is 2.*: update"):
        Optimizer(network(), "muon", weight_decay=0)
    Optimizer(network(), "sgd", weight_decay=0)
