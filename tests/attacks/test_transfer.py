"""Attacks made on a surrogate: whose loss they climb, and who pays for it."""

import pytest
import torch
from torch import nn

from advdetect.attacks import ATTACKS, Budget, attack, attack_chunk, choose_budgets
from advdetect.errors import InputError


class Turned(nn.Module):
    """The same plane, with its two sides' classes exchanged."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images).flip(1)


def run(known, surrogate, *, norm="linf", eps=0.05, model=None):
    return attack_chunk(
        model or known.model,
        known.images,
        known.labels,
        Budget(f"{norm}_transfer", eps),
        seed=0,
        surrogate=surrogate,
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_the_model_itself_it_succeeds_where_pgd_does(norm, known):
    eps = known.distance[norm][2:4].mean().item()
    pgd = attack_chunk(known.model, known.images, known.labels, Budget("linf_pgd", eps), seed=0)
    found = run(known, known.model, norm=norm, eps=eps)
    assert torch.equal(found.success, known.distance[norm] < eps)
    if norm == "linf":
        assert torch.equal(found.success, pgd.success)


def test_a_surrogate_that_errs_the_other_way_is_of_no_use(known):
    found = run(known, Turned(known.model))
    assert not found.success.any()
    assert (known.model.margin(found.adversarial) > known.model.margin(known.images)).all()


def test_the_model_is_asked_once_and_gives_no_gradient(known):
    class NoGradient(nn.Module):
        def forward(self, images):
            return known.model(images).detach()

    found = run(known, known.model, model=NoGradient())
    assert (found.forwards, found.backwards) == (1, 0)  # Foolbox's look at what was made


def test_the_surrogate_is_left_as_it_was(known):
    surrogate = type(known.model)(known.model.normal.detach().clone())
    surrogate.train()
    run(known, surrogate)
    assert all(module.training for module in surrogate.modules())
    assert surrogate.normal.requires_grad
    assert surrogate.normal.grad is None


@pytest.mark.parametrize("name", [name for name, spec in ATTACKS.items() if spec.surrogate])
def test_asks_for_a_surrogate(name, known):
    with pytest.raises(InputError, match=f"{name} is made on another model: give it one, with sur"):
        attack_chunk(known.model, known.images, known.labels, Budget(name, 0.1), seed=0)


def test_by_itself_it_asks_for_a_surrogate_too(known):
    with pytest.raises(TypeError, match="a transfer attack needs surrogate=, a Foolbox model"):
        ATTACKS["linf_transfer"].build().run(None, known.images, known.labels, epsilon=0.1)


def test_says_that_a_surrogate_has_other_classes(known):
    labels = known.labels.clone()
    labels[0] = 2

    def wide(images):
        return torch.cat([known.model(images), torch.zeros(len(images), 1)], 1)

    model = nn.Module()
    model.forward = wide
    with pytest.raises(InputError, match="labels must run from 0 to 1, got 0 to 2"):
        attack_chunk(
            model, known.images, labels, Budget("linf_transfer", 0.1), seed=0, surrogate=known.model
        )


def test_a_suite_without_a_surrogate_leaves_such_budgets_out():
    without = choose_budgets("strong", "linf")
    assert [str(budget) for budget in without] == ["linf_strong 8/255", "linf_strong 0.1"]
    both = choose_budgets("strong", "linf", surrogate=True)
    assert [str(budget) for budget in both[2:]] == ["linf_transfer 8/255", "linf_transfer 0.1"]


def test_a_run_with_a_surrogate(known):
    kinds = {"suite": "strong", "norm": "linf", "eps": 0.05}
    plain = attack(known.model, known.images, known.labels, **kinds)
    more = attack(known.model, known.images, known.labels, **kinds, surrogate=known.model)
    assert [result.attack for result in plain.results] == ["linf_strong"]
    assert [result.attack for result in more.results] == ["linf_strong", "linf_transfer"]
    assert torch.equal(more.results[0].success, more.results[1].success)
