"""Attacks against the nearest adversarial picture of a linear classifier, in closed form."""

import pytest
import torch

from advdetect.attacks import ATTACKS, Budget, attack_chunk

# Largest distance found over smallest possible, for the settings of the table.
REACHED = {
    "l2_deepfool": 1.025,  # overshoots by 2 %
    "l2_carlini_wagner": 1.02,
    "l2_fmn": 1.01,
    "linf_fmn": 1.01,
    "l2_hop_skip_jump": 1.2,  # sees decisions alone
}


# But for random search in L2, whose bumps are not shaped as the plane's normal is, and for what an
# encoder does afterwards.
FIXED = [
    name
    for name, spec in ATTACKS.items()
    if spec.takes_eps and not (spec.control or spec.encoded or name == "l2_square")
]


def run(known, name, eps=None, **changes):
    images, labels = changes.get("images", known.images), changes.get("labels", known.labels)
    budget = Budget(name, eps)
    return attack_chunk(known.model, images, labels, budget, seed=0, surrogate=known.model)


def test_every_minimum_norm_attack_is_tested_here():
    assert set(REACHED) == {name for name, spec in ATTACKS.items() if spec.minimum_norm}


@pytest.mark.parametrize("name", REACHED)
def test_minimum_norm_attacks_reach_the_plane_and_never_beat_it(known, name):
    chunk = run(known, name)
    ratio = chunk.distance / known.distance[ATTACKS[name].norm]
    assert chunk.success.all()
    assert ratio.min() >= 1 - 1e-5
    assert ratio.max() <= REACHED[name]


@pytest.mark.parametrize("name", REACHED)
def test_minimum_norm_attacks_with_an_eps_succeed_only_within_it(known, name):
    nearest = known.distance[ATTACKS[name].norm]
    eps = float(nearest[2:4].mean())
    free, bound = run(known, name), run(known, name, eps)
    assert not bound.success[3:].any()
    assert bound.success[:2].all()
    assert (bound.distance <= eps).all()
    assert torch.equal(bound.adversarial[~bound.success], known.images[~bound.success])
    assert torch.equal(bound.success, free.distance <= eps)


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("rows", [1, 3, 5])
def test_attacks_of_fixed_eps_succeed_where_eps_reaches_the_plane(known, name, rows):
    nearest = known.distance[ATTACKS[name].norm]
    eps = float(nearest[rows - 1 : rows + 1].mean())
    chunk = run(known, name, eps)
    assert torch.equal(chunk.success, nearest < eps)


@pytest.mark.parametrize(
    ("name", "slack"), [("linf_fgsm", 0), ("linf_bim", 0), ("linf_pgd", 0), ("l2_pgd", 0.1)]
)
def test_attacks_of_fixed_eps_reach_the_largest_loss(known, name, slack):
    # In L2 twenty steps of a tenth of eps do not turn a random start all the way round.
    eps, normal = 0.04, known.model.normal.detach()
    steepest = {"linf": normal.sign(), "l2": normal / normal.norm()}[ATTACKS[name].norm]
    best = known.model.margin(known.images - eps * steepest.view(1, 4, 4))
    found = known.model.margin(run(known, name, eps).adversarial)
    drop = known.model.margin(known.images) - best
    assert (found >= best - 1e-5).all()
    assert (found <= best + slack * drop + 1e-5).all()


@pytest.mark.parametrize(
    ("name", "forwards", "backwards"),
    [("linf_fgsm", 2, 1), ("linf_bim", 11, 10), ("linf_pgd", 21, 20), ("l2_pgd", 21, 20)],
)
def test_counts_passes_per_image_attacked(known, name, forwards, backwards):
    # One forward pass more than gradients: Foolbox looks at what it made.
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    for chunk in (run(known, name, 0.1), run(known, name, 0.1, labels=labels)):
        assert (chunk.forwards, chunk.backwards) == (forwards, backwards)


def test_a_decision_based_attack_takes_no_gradients(known):
    chunk = run(known, "l2_hop_skip_jump")
    assert chunk.backwards == 0
    assert chunk.forwards > 100


@pytest.mark.parametrize("eps", [2 / 255, 0.1])
def test_uniform_noise_has_the_linf_norm_asked(known, eps):
    chunk = run(known, "linf_uniform_noise", eps)
    torch.testing.assert_close(chunk.distance, torch.full((6,), eps))
    noise = (chunk.adversarial - known.images).flatten()
    assert (noise > 0).double().mean().item() == pytest.approx(0.5, abs=0.2)
    assert noise.unique().numel() > 40  # no two-valued pattern


@pytest.mark.parametrize("eps", [0.05, 0.5])
@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_gaussian_noise_has_the_l2_norm_asked_also_at_the_ends_of_the_range(known, eps, grey):
    images = torch.full((6, 1, 28, 28), grey)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 2))
    torch.nn.init.zeros_(model[1].weight)
    torch.nn.init.zeros_(model[1].bias)
    chunk = attack_chunk(model, images, known.labels, Budget("l2_gaussian_noise", eps), seed=0)
    torch.testing.assert_close(chunk.distance, torch.full((6,), eps), rtol=2e-3, atol=0)
    assert chunk.adversarial.min() >= 0
    assert chunk.adversarial.max() <= 1
