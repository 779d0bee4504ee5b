"""The cascade: the worst case over its members, for the price of those that are needed."""

import pytest
import torch

from advdetect.attacks import ATTACKS, Budget, attack_chunk
from advdetect.attacks.searching import Hold, Search
from advdetect.attacks.strong import Cascade, strong


class Breaks(Search):
    """Breaks the images at some places, as if by magic, and notes which it was given."""

    def __init__(self, *rows):
        super().__init__("linf")
        self.breaks = set(rows)
        self.given = None

    def search(self, hold):
        self.given = hold.rows.tolist()
        rows = torch.tensor([row for row in self.given if row in self.breaks], dtype=torch.int64)
        hold.ask(hold.images[rows] + 0.25, rows)
        hold.attempt(hold.images - 0.125, torch.arange(len(hold.images)))


def brightness(images):
    """Class 0 up to a grey of 0.6."""
    grey = images.flatten(1).mean(1)
    return torch.stack([0.6 - grey, grey - 0.6], 1)


def test_members_see_what_holds_and_the_rest_do_not_run():
    members = [Breaks(0, 3), Breaks(), Breaks(1, 2), Breaks(0)]
    images = torch.full((4, 1, 2, 2), 0.5)
    hold = Hold(brightness, images, torch.zeros(4, dtype=torch.int64), 0.25)
    Cascade("linf", members).search(hold)
    given = [member.given for member in members]
    assert given == [[0, 1, 2, 3], [1, 2], [1, 2], None]
    assert torch.equal(hold.found, images + 0.25)


def test_what_holds_is_left_as_the_last_member_tried_it():
    images = torch.full((2, 1, 2, 2), 0.5)
    hold = Hold(brightness, images, torch.zeros(2, dtype=torch.int64), 0.25)
    Cascade("linf", [Breaks(0)]).search(hold)
    assert hold.rows.tolist() == [1]
    assert torch.equal(hold.found[0], images[0] + 0.25)
    assert torch.equal(hold.found[1], images[1] - 0.125)


def test_the_first_of_several_successes_at_one_image_is_kept_whole():
    images = torch.full((2, 1, 1, 2), 0.5)
    hold = Hold(brightness, images, torch.zeros(2, dtype=torch.int64), 0.5)
    moved = torch.tensor([[0.5, 0.5], [0.8, 0.6], [0.6, 0.9]]).view(3, 1, 1, 2)
    _, over = hold.ask(moved, torch.tensor([1, 1, 1]))
    assert over.all()
    assert hold.rows.tolist() == [0]
    assert torch.equal(hold.found[1], moved[1])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_norm_has_a_member_of_each_kind(norm):
    members = strong(norm).members
    kinds = [type(member).__name__ for member in members]
    assert sorted(kinds[1:3]) == ["FastAdaptiveBoundary", "TargetedAutoPGD"]
    assert kinds[::3] == ["CrossEntropyAutoPGD", {"linf": "LinfSquare", "l2": "L2Square"}[norm]]
    assert {member.norm for member in members} == {norm}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("member", range(4))
def test_each_member_breaks_what_can_be_broken_of_a_plane(norm, member, known):
    eps = known.distance[norm][2:4].mean().item()
    hold = Hold(known.model, known.images, known.labels, eps)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        strong(norm).members[member].search(hold)
    nearest = known.distance[norm]
    # Square's blocks are not shaped as the plane's normal is: it needs room, in L2 most.
    sure = nearest < eps * (1 if member < 3 else 0.7)
    assert not set(hold.rows.tolist()) & set(sure.nonzero().flatten().tolist())
    assert set((nearest > eps).nonzero().flatten().tolist()) <= set(hold.rows.tolist())
    order = {"linf": torch.inf, "l2": 2}[norm]
    sizes = torch.linalg.vector_norm((hold.found - known.images).flatten(1), order, dim=1)
    assert sizes.max() <= eps * (1 + 1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_worse_than_any_member_on_a_network(norm, small, digits):
    some = digits["evaluation"].subset(range(25))
    eps = {"linf": 0.06, "l2": 0.3}[norm]

    def broken(name):
        budget = Budget(f"{norm}_{name}", eps)
        return attack_chunk(small.module, some.images, some.labels, budget, seed=0).success

    together = broken("strong")
    assert 0 < together.sum() < 25
    for name in ("pgd", "apgd_ce", "square"):
        assert broken(name).sum() <= together.sum(), name
    assert (broken("fmn") & ~together).sum() == 0


def test_the_cascade_costs_what_its_first_member_does_where_that_breaks_all(known):
    eps = 2 * known.distance["linf"].max().item()
    passes = [
        attack_chunk(known.model, known.images, known.labels, Budget(name, eps), seed=0).forwards
        for name in ("linf_strong", "linf_apgd_ce")
    ]
    assert passes[0] == passes[1] <= 4
    assert ATTACKS["linf_strong"].build().distance is ATTACKS["linf_apgd_ce"].build().distance
