"""Attacks on a linear classifier, whose nearest adversarial point is known."""

import pytest
import torch
from torch import nn

from advdetect.attacks import ATTACKS, Budget, attack, attack_chunk
from advdetect.errors import InputError


class Line(nn.Module):
    """Two classes on either side of a plane through the middle of the cube."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        margin = (images - 0.5).flatten(1) @ self.weight
        return torch.stack([margin, -margin], 1)


@pytest.fixture
def line():
    """A model, images of class 0, and their distances to the plane in both norms."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(16, generator=generator)
    weight = weight.sign() * (weight.abs() + 0.5)
    direction = weight / weight.norm()
    along = torch.linspace(0.05, 0.3, 6)
    across = 0.05 * torch.randn(6, 16, generator=generator)
    across -= (across @ direction)[:, None] * direction
    images = 0.5 + along[:, None] * direction + across
    distances = {"l2": along, "linf": along * weight.norm() / weight.abs().sum()}
    return Line(weight), images.view(6, 1, 4, 4), distances


@pytest.mark.parametrize(
    ("name", "slack"),
    [("l2_deepfool", 0.03), ("l2_carlini_wagner", 0.1), ("l2_fmn", 0.25), ("linf_fmn", 0.25)],
)
def test_minimum_norm_attacks_reach_the_plane_and_never_beat_it(line, name, slack):
    model, images, distances = line
    chunk = attack_chunk(model, images, torch.zeros(6, dtype=torch.int64), Budget(name), seed=0)
    nearest = distances[ATTACKS[name].norm]
    assert chunk.success.all()
    assert (chunk.distance >= nearest - 1e-5).all()
    assert (chunk.distance <= nearest * (1 + slack) + 2e-3).all()


@pytest.mark.parametrize("name", ["linf_fgsm", "linf_bim", "linf_pgd"])
def test_linf_attacks_succeed_exactly_where_eps_reaches_the_plane(line, name):
    model, images, distances = line
    eps = 0.03
    chunk = attack_chunk(
        model, images, torch.zeros(6, dtype=torch.int64), Budget(name, eps), seed=0
    )
    assert torch.equal(chunk.success, distances["linf"] < eps)
    assert chunk.distance.max() <= eps + 1e-6


@pytest.mark.parametrize("name", ["linf_pgd", "linf_uniform_noise", "l2_hop_skip_jump"])
def test_a_chunk_gives_the_same_whatever_ran_before(line, name):
    model, images, _ = line
    budget = Budget(name, None if ATTACKS[name].minimum_norm else 0.1)
    labels = torch.zeros(6, dtype=torch.int64)
    first = attack_chunk(model, images, labels, budget, seed=0)
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    again = attack_chunk(model, images, labels, budget, seed=0)
    assert torch.equal(first.adversarial, again.adversarial)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_images_wrong_from_the_start_stay_as_they_are(line):
    model, images, _ = line
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    chunk = attack_chunk(model, images, labels, Budget("linf_pgd", 0.3), seed=0)
    assert torch.equal(chunk.adversarial[1::2], images[1::2])
    assert chunk.success[1::2].all()
    assert (chunk.distance[1::2] == 0).all()


def test_the_model_is_left_as_it_was(line):
    model, images, _ = line
    model.train()
    attack_chunk(model, images, torch.zeros(6, dtype=torch.int64), Budget("linf_pgd", 0.1), seed=0)
    assert model.training
    assert model.weight.requires_grad
    assert model.weight.grad is None


def test_a_run_counts_successes_of_attacks_and_survivors_of_noise(line):
    model, images, _ = line
    run = attack(model, images, torch.zeros(6, dtype=torch.int64), suite="quick")
    by_name = {result.attack: result for result in run.results}
    assert torch.equal(by_name["linf_fmn"].counted, by_name["linf_fmn"].success)
    noise = by_name["linf_uniform_noise"]
    assert torch.equal(noise.counted, ~noise.success)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "hard"}, "no suite named 'hard', choose from: quick, fitting, standard"),
        ({"norm": "l1"}, "no norm named 'l1', choose from: linf, l2"),
        ({"eps": 0.1}, "an eps means nothing without its norm"),
    ],
)
def test_says_what_is_wrong(line, arguments, message):
    model, images, _ = line
    with pytest.raises(InputError, match=message):
        attack(model, images, torch.zeros(6, dtype=torch.int64), **arguments)


def test_a_fixed_eps_attack_asks_for_its_eps(line):
    model, images, _ = line
    with pytest.raises(InputError, match="linf_pgd needs an eps in pixels"):
        attack_chunk(model, images, torch.zeros(6, dtype=torch.int64), Budget("linf_pgd"), seed=0)
