"""Adversaries against a linear model, whose worst examples are known."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advdetect.ensembles import ADVERSARIES
from advdetect.ensembles.adversaries import divergence
from advdetect.networks import load_model

EPS = 0.1


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def linear():
    """Two classes apart along one direction w, the logits being (-w x, w x)."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False))
    w = torch.randn(16, generator=generator(1))
    module[1].weight.data = torch.stack([-w, w])
    return module


@pytest.fixture
def images():
    """Some pixels near black and white, so that the ends of the range count."""
    return torch.rand(12, 1, 4, 4, generator=generator(2))


@pytest.fixture
def labels():
    return torch.arange(12) % 2


def noise_like(images, seed=3):
    return 2 * torch.rand(images.shape, generator=generator(seed)) - 1


def outward(linear, labels):
    """Sign of each pixel's step that lowers the own class."""
    sign = linear[1].weight[1].detach().sign().view(1, 1, 4, 4)
    return torch.where(labels.view(-1, 1, 1, 1) == 1, -sign, sign)


def test_pgd_reaches_the_optimum_of_a_linear_model(linear, images, labels):
    optimum = (images + EPS * outward(linear, labels)).clamp(0, 1)
    found = ADVERSARIES["pgd"].craft(linear, images, labels, noise_like(images), EPS)
    torch.testing.assert_close(found, optimum)
    corners = images != 0
    assert ((optimum == 0) & corners).any()  # the range did count


def test_fgsm_makes_one_step_of_five_quarters_from_its_start(linear, images, labels):
    noise = noise_like(images)
    start = (images + EPS * noise).clamp(0, 1)
    stepped = start + 1.25 * EPS * outward(linear, labels)
    expected = torch.minimum(torch.maximum(stepped, images - EPS), images + EPS).clamp(0, 1)
    found = ADVERSARIES["fgsm"].craft(linear, images, labels, noise, EPS)
    torch.testing.assert_close(found, expected)
    # 1.25 eps from anywhere in the ball is at least eps / 4 beyond its middle.
    middle = (images > EPS) & (images < 1 - EPS)
    gained = ((found - images) * outward(linear, labels))[middle]
    assert gained.min() >= EPS / 4 - 1e-6
    assert gained.max() == pytest.approx(EPS, abs=1e-6)


def test_n_fgsm_makes_one_step_from_twice_as_far_and_stays_there(linear, images, labels):
    noise = noise_like(images)
    start = (images + 2 * EPS * noise).clamp(0, 1)
    expected = (start + EPS * outward(linear, labels)).clamp(0, 1)
    found = ADVERSARIES["n-fgsm"].craft(linear, images, labels, noise, EPS)
    torch.testing.assert_close(found, expected)
    away = (found - images).abs().max().item()
    assert 2 * EPS < away <= 3 * EPS  # beyond the budget, and no further


def test_steps_and_strides_are_shares_of_the_budget(linear, images, labels):
    inner = 0.25 + images / 2  # no pixel meets the ends of the range
    nothing = torch.zeros_like(inner)
    for steps, stride, reached in ((1, 0.25, 0.25), (3, 0.25, 0.75), (2, None, 1), (5, None, 1)):
        adversary = replace(ADVERSARIES["pgd"], steps=steps, stride=stride)
        found = adversary.craft(linear, inner, labels, nothing, EPS)
        torch.testing.assert_close(found - inner, reached * EPS * outward(linear, labels))


@pytest.mark.parametrize("name", ADVERSARIES)
@pytest.mark.parametrize("eps", [0, 8 / 255, 0.5])
def test_examples_stay_within_their_budget_and_are_pictures(small, digits, name, eps):
    rows = digits["evaluation"].subset(range(20))
    noise = noise_like(rows.images)
    found = ADVERSARIES[name].craft(small.module, rows.images, rows.labels, noise, eps)
    furthest = 3 * eps if name == "n-fgsm" else eps
    assert (found - rows.images).abs().max() <= furthest + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found.requires_grad
    if eps == 0.5:
        assert (found - rows.images).abs().max() > 0.4


@pytest.mark.parametrize("name", ["fgsm", "n-fgsm", "pgd"])
def test_examples_are_harder_than_noise(small, digits, name):
    rows = digits["evaluation"].subset(range(60))
    noise = noise_like(rows.images)
    found = ADVERSARIES[name].craft(small.module, rows.images, rows.labels, noise, EPS)
    noisy = (rows.images + EPS * noise).clamp(0, 1)
    losses = [F.cross_entropy(small.module(x), rows.labels).item() for x in (noisy, found)]
    assert losses[1] > losses[0] + 0.3


def test_trades_moves_the_prediction_whatever_the_label(small, digits):
    rows = digits["evaluation"].subset(range(60))
    noise = noise_like(rows.images)
    clean = small.module(rows.images).softmax(1)
    trades = ADVERSARIES["trades"]
    found = trades.craft(small.module, rows.images, rows.labels, noise, EPS)
    noisy = (rows.images + EPS * noise).clamp(0, 1)
    moved = [divergence(small.module(x), clean).item() for x in (noisy, found)]
    assert moved[1] > moved[0] + 0.3
    others = (rows.labels + 1) % 10
    assert torch.equal(found, trades.craft(small.module, rows.images, others, noise, EPS))


def test_divergence_worked_out_by_hand() -> None:
    # 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75) = 0.5 log(4 / 3), then the mean with 0.
    logits = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    clean = torch.full((2, 2), 0.5)
    expected = 0.25 * torch.log(torch.tensor(4 / 3))
    torch.testing.assert_close(divergence(logits, clean), expected)
    torch.testing.assert_close(divergence(logits + 5, clean), expected)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_crafting_leaves_no_gradients_behind(small_model, digits, name):
    module = load_model(str(small_model)).module
    rows = digits["evaluation"].subset(range(5))
    ADVERSARIES[name].craft(module, rows.images, rows.labels, noise_like(rows.images), EPS)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not rows.images.requires_grad
