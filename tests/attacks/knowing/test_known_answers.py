"""Attacks that know the guard, where linear programming knows the least budget that suffices."""

import pytest
import torch

from advdetect.attacks.knowing import KNOWING, evade_chunk

# Budget, over the least that suffices, within which every picture must evade the guard.
# One goal at a time moves every pixel as often for the one as for the other, whatever it weighs:
# between the two it does not settle where a joint search does.
REACHED = {
    ("linf_joint_pgd", 0.05): 1.02,
    ("linf_joint_pgd", 0.45): 1.02,
    ("linf_selective_pgd", 0.05): 1.02,
    ("linf_orthogonal_pgd", 0.05): 1.3,
    ("linf_orthogonal_pgd", 0.45): 1.3,
    ("linf_guard_square", 0.05): 1.4,
}
BOUNDARY = 2.0


def evade(known, attack, *budgets, seed=0, **changes):
    return evade_chunk(
        changes.get("guard", known.guard),
        changes.get("images", known.images),
        changes.get("labels", known.labels),
        attack,
        budgets,
        seed=seed,
    )


def evaded(chunk, labels, p_value):
    return (chunk["prediction"] != labels[:, None]) & (chunk["p_value"] > p_value)


@pytest.mark.parametrize(("attack", "p_value"), REACHED)
def test_they_evade_within_little_more_than_the_least_budget_and_never_within_less(
    known, attack, p_value
):
    least = known.least(p_value)
    enough = float(REACHED[attack, p_value] * least.max())
    chunk = evade(known, attack, 0.97 * float(least.min()), enough)
    found = evaded(chunk, known.labels, p_value)
    assert not found[:, 0].any()
    assert found[:, 1].all()


def test_each_picture_evades_from_its_own_least_budget_on(known):
    least = known.least(0.45)
    for budget in least.quantile(torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)).tolist():
        found = evaded(evade(known, "linf_joint_pgd", budget), known.labels, 0.45)[:, 0]
        assert found[least < budget / 1.02].all()
        assert not found[least > 1.001 * budget].any()


def test_the_decision_based_attack_learns_of_the_flag_alone(known):
    other = known.images - 2 * 0.3 * (known.guard.normal / known.guard.normal.square().sum()).view(
        1, 1, 6, 6
    )
    images = torch.cat([known.images, other])
    labels = torch.cat([known.labels, 1 - known.labels])
    least = known.least(0.05)
    budgets = (0.97 * float(least.min()), float(BOUNDARY * least.max()))
    chunk = evade(known, "linf_guard_boundary", *budgets, images=images, labels=labels)
    found = evaded(chunk, labels, 0.05)[:8]
    assert not found[:, 0].any()
    assert found[:, 1].all()
    assert known.guard.looked == 0


def test_square_takes_no_gradients(known):
    evade(known, "linf_guard_square", 0.1)
    assert known.guard.looked == 0


@pytest.mark.parametrize("attack", KNOWING)
def test_every_attack_keeps_to_its_budgets_and_to_the_pixels(known, attack):
    budgets = (0.02, 0.1, 1.0) if attack.startswith("linf") else (0.05, 0.5, 6.0)
    chunk = evade(known, attack, *budgets)
    assert chunk["adversarial"].min() >= 0
    assert chunk["adversarial"].max() <= 1
    assert (chunk["distances"] <= torch.tensor(budgets) * (1 + 1e-5)).all()
    norm = torch.inf if attack.startswith("linf") else 2
    change = (chunk["adversarial"] - known.images[:, None]).flatten(2)
    assert torch.allclose(torch.linalg.vector_norm(change, norm, dim=2), chunk["distances"])


@pytest.mark.parametrize("attack", KNOWING)
def test_what_is_found_within_a_budget_holds_within_the_next(known, attack):
    budgets = (0.02, 0.05, 0.1) if attack.startswith("linf") else (0.1, 0.3, 0.9)
    chunk = evade(known, attack, *budgets)
    fooled = chunk["prediction"] != known.labels[:, None]
    p_value = torch.where(fooled, chunk["p_value"], -1)
    assert (p_value.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("attack", KNOWING)
def test_the_answers_are_the_guards_own(known, attack):
    chunk = evade(known, attack, 0.1)
    said = known.guard.ask(chunk["adversarial"][:, 0])
    assert torch.equal(said.label, chunk["prediction"][:, 0])
    assert torch.equal(said.p_value, chunk["p_value"][:, 0])
    assert torch.equal(said.true_score, chunk["score"][:, 0])


@pytest.mark.parametrize("attack", KNOWING)
def test_the_same_chunk_gives_the_same_whatever_was_drawn_before(known, attack):
    first = evade(known, attack, 0.1)
    torch.manual_seed(99)
    again = evade(known, attack, 0.1)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_pictures_wrong_from_the_start_stay_as_they_are(known):
    labels = torch.tensor([0, 1] * 4)
    chunk = evade(known, "linf_selective_pgd", 0.5, labels=labels)
    assert torch.equal(chunk["adversarial"][1::2, 0], known.images[1::2])
    assert (chunk["distances"][1::2] == 0).all()
    assert (chunk["distances"][::2] > 0).all()


def test_an_image_at_ease_leaves_the_batch(known):
    # Where what fools the classifier calms the guard, fooling it suffices.
    known.guard.odd = 1e-3 * known.guard.normal
    evade(known, "linf_selective_pgd", 0.3)
    looks = known.guard.looked
    assert looks < 8 * 40
    known.guard.looked = 0
    evade(known, "linf_selective_pgd", 0.3, 0.4, 0.5)
    assert known.guard.looked == looks


@pytest.mark.parametrize(
    ("attack", "gradients"),
    [("linf_selective_pgd", 1), ("linf_orthogonal_pgd", 2), ("linf_joint_pgd", 2)],
)
def test_passes_are_counted_image_by_image(known, attack, gradients):
    chunk = evade(known, attack, 0.001, 0.1)
    assert int(chunk["forwards"][:, 1].sum()) == known.guard.looked
    # Two starts of 100 steps each, after the last of which there is no gradient.
    assert chunk["forwards"][:, 0].tolist() == [202] * 8
    assert chunk["backwards"][:, 0].tolist() == [200 * gradients] * 8
    assert (chunk["forwards"].diff(dim=1) > 0).all()
