"""HopSkipJump from every picture that has somewhere to start from."""

import eagerpy
import pytest
import torch
from torch import nn

from advdetect.attacks import ATTACKS, Budget, attack_chunk

HOP = Budget("l2_hop_skip_jump")


class Rule(nn.Module):
    """Class 1 where a rule on the pictures holds, class 0 elsewhere."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, images):
        return torch.stack([~self.rule(images), self.rule(images)], 1).float()


def zeros(n):
    return torch.zeros(n, dtype=torch.int64)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(lambda x: x.flatten(1).amin(1) > 0.95, id="only plain white"),
        pytest.param(lambda x: x.flatten(1).amax(1) < 0.05, id="only plain black"),
        pytest.param(lambda x: x.flatten(1).std(1) > 0.2, id="only noise"),
    ],
)
def test_starts_from_plain_grey_levels_or_from_noise(rule):
    # Uniform noise alone, Foolbox's own start, meets neither of the first two rules.
    images = torch.full((3, 1, 4, 4), 0.4)
    chunk = attack_chunk(Rule(rule), images, zeros(3), HOP, seed=0)
    assert chunk.success.all()


def test_starts_from_another_picture_of_the_batch():
    # One corner bright and the opposite one dark: no grey level is, and noise hardly ever.
    def rule(images):
        return (images[:, 0, 0, 0] > 0.99) & (images[:, 0, 3, 3] < 0.01)

    images = torch.full((3, 1, 4, 4), 0.4)
    images[2, 0, 0, 0], images[2, 0, 3, 3] = 1.0, 0.0
    labels = torch.tensor([0, 0, 1])
    assert not attack_chunk(Rule(rule), images[:2], labels[:2], HOP, seed=0).success.any()
    assert attack_chunk(Rule(rule), images, labels, HOP, seed=0).success.all()


def test_a_picture_without_a_start_stays_as_it_is_and_the_others_are_attacked():
    class Corner(nn.Module):
        """Class 2 by a corner that no candidate has; the others are told apart by brightness."""

        def forward(self, images):
            bright = images.flatten(1).mean(1)
            corner = (images[:, 0, 0, 0] - 0.123).abs() < 1e-6
            return torch.stack([0.5 - bright, bright - 0.5, corner * 2.0 - 1], 1)

    images = torch.full((2, 1, 4, 4), 0.3)
    chunk = attack_chunk(Corner(), images, zeros(2), HOP, seed=0)
    assert chunk.success.all()
    assert (chunk.prediction == 1).all()
    # With nothing of another class among the candidates, nothing moves.
    alone = attack_chunk(Rule(lambda x: x.flatten(1).mean(1) > 2), images, zeros(2), HOP, seed=0)
    assert torch.equal(alone.adversarial, images)
    assert not alone.success.any()


def test_reaches_as_far_in_a_large_batch_as_in_a_small_one(known):
    # Foolbox shortens every step by about the square root of the number of pictures.
    images, labels = known.images.repeat(20, 1, 1, 1), zeros(120)
    chunk = attack_chunk(known.model, images, labels, HOP, seed=0)
    ratio = chunk.distance / known.distance["l2"].repeat(20)
    assert ratio.median() < 1.3  # 2.1 with Foolbox's steps


def test_directions_have_unit_length_for_each_picture(known):
    def decide(pictures):
        return known.model.margin(pictures.raw) < 0

    boundary = eagerpy.astensor(known.images)
    directions = (
        ATTACKS["l2_hop_skip_jump"]
        .build()
        .approximate_gradients(
            lambda pictures: eagerpy.astensor(decide(pictures)),
            boundary,
            20,
            eagerpy.astensor(torch.full((6,), 0.1)),
        )
    )
    torch.testing.assert_close(directions.raw.flatten(1).norm(dim=1), torch.ones(6))
