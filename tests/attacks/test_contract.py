"""What every attack of the table owes its callers, whatever the model."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from advdetect.attacks import ATTACKS, Budget, attack_chunk
from advdetect.errors import InputError, ModelError

GRADIENT = [
    name
    for name, spec in ATTACKS.items()
    if not spec.control and spec.family not in ("decision", "square")
]


def budget_of(name, eps=0.1):
    return Budget(name, eps if ATTACKS[name].takes_eps else None)


def run(model, images, labels, name, *, eps=0.1, seed=0):
    # A surrogate of its own where one is needed: what is left as it was is the model.
    surrogate = copy.deepcopy(model) if ATTACKS[name].surrogate else None
    budget = budget_of(name, eps)
    return attack_chunk(model, images, labels, budget, seed=seed, surrogate=surrogate)


class Constant(nn.Module):
    """Always class 0, with a gradient of zero."""

    def forward(self, images):
        nothing = 0 * images.flatten(1).sum(1)
        return torch.stack([nothing + 1, nothing], 1)


class Answering(nn.Module):
    """Answers what a function makes of the images."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def same(first, second):
    return torch.equal(first.adversarial, second.adversarial)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("eps", [0.02, 0.6])
def test_stays_in_its_budget_and_in_the_pixels_and_says_what_the_model_says(known, name, eps):
    # Pictures that reach both ends of the range, so that budgets meet the bounds.
    images = ((known.images - 0.5) * 4 + 0.5).clamp(0, 1)
    chunk = run(known.model, images, known.labels, name, eps=eps)
    assert chunk.adversarial.min() >= 0
    assert chunk.adversarial.max() <= 1
    difference = (chunk.adversarial - images).flatten(1)
    order = {"linf": torch.inf, "l2": 2}[ATTACKS[name].norm]
    torch.testing.assert_close(chunk.distance, torch.linalg.vector_norm(difference, order, dim=1))
    if ATTACKS[name].takes_eps and not ATTACKS[name].encoded:
        assert chunk.distance.max() <= eps * (1 + 1e-3)
    prediction = known.model(chunk.adversarial).argmax(1)
    assert torch.equal(chunk.prediction, prediction)
    assert torch.equal(chunk.success, prediction != known.labels)
    assert torch.equal(chunk.clean_prediction, known.model(images).argmax(1))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_chunk_gives_the_same_whatever_ran_before(known, name):
    chunks = [(known.images[rows], known.labels[rows]) for rows in (slice(0, 3), slice(3, 6))]
    forwards = [run(known.model, *chunk, name) for chunk in chunks]
    with torch.random.fork_rng([]):
        torch.manual_seed(99)
        torch.rand(7)
        backwards = [run(known.model, *chunk, name) for chunk in reversed(chunks)]
    assert all(same(*pair) for pair in zip(forwards, reversed(backwards), strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_global_generators_go_on_as_if_nothing_had_run(known, name):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    run(known.model, known.images, known.labels, name)
    assert torch.equal(torch.get_rng_state(), torch_state)
    for before, after in zip(numpy_state, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ["linf_pgd", "l2_pgd", "linf_uniform_noise", "l2_gaussian_noise"])
def test_another_seed_another_eps_or_other_images_draw_anew(known, name):
    # The noise itself, or the random start that a gradient of zero never leaves.
    def noise(images=known.images, eps=0.1, seed=0):
        chunk = run(Constant(), images, known.labels[: len(images)], name, eps=eps, seed=seed)
        return (chunk.adversarial - images)[0] / eps

    assert torch.equal(noise(), noise())
    changes = [{"seed": 1}, {"eps": 0.05}, {"images": known.images[:3]}]
    assert all((noise(**change) - noise()).abs().max() > 0.01 for change in changes)


def test_another_seed_takes_hop_skip_jump_elsewhere(known):
    first, second = (
        run(known.model, known.images, known.labels, "l2_hop_skip_jump", seed=seed)
        for seed in (0, 1)
    )
    assert not same(first, second)


@pytest.mark.parametrize("name", GRADIENT)
def test_the_model_is_left_as_it_was(known, name):
    model = known.model
    model.train()
    model.dropout.eval()  # a mixture of modes, as in fine-tuning
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    model.register_parameter("frozen", frozen)
    statistics = model.norm.running_mean.clone()
    model.normal.grad = gradient = torch.full((16,), 3.0)
    run(model, known.images, known.labels, name)
    assert [module.training for module in model.modules()] == [True, False, True]
    assert torch.equal(model.norm.running_mean, statistics)
    assert model.normal.requires_grad
    assert not frozen.requires_grad
    assert model.normal.grad is gradient
    assert torch.equal(gradient, torch.full((16,), 3.0))
    assert not model._forward_hooks
    assert not model._backward_hooks


@pytest.mark.parametrize("name", ["linf_pgd", "l2_deepfool", "l2_hop_skip_jump"])
def test_the_model_and_the_generators_are_left_as_they_were_after_an_exception(known, name):
    model, passes = known.model, []

    def fail_at_the_third_pass(_module, _inputs):
        passes.append(None)
        if len(passes) == 3:
            raise RuntimeError("out of memory, say")

    model.train()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    with (
        model.register_forward_pre_hook(fail_at_the_third_pass),
        pytest.raises(RuntimeError, match="out of memory, say"),
    ):
        run(model, known.images, known.labels, name)
    assert all(module.training for module in model.modules())
    assert model.normal.requires_grad
    assert model.normal.grad is None
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state[1])


@pytest.mark.parametrize("name", ATTACKS)
def test_a_double_precision_model_gives_double_precision_pictures(known, name):
    chunk = run(known.model.double(), known.images.double(), known.labels, name)
    assert chunk.adversarial.dtype == chunk.distance.dtype == torch.float64
    if ATTACKS[name].minimum_norm:
        assert chunk.success.all()
        # The model itself is linear: nothing beats the plane but by rounding.
        assert (chunk.distance >= known.distance[ATTACKS[name].norm] * (1 - 1e-5)).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_batch_of_one_image(known, name):
    chunk = run(known.model, known.images[:1], known.labels[:1], name)
    assert chunk.adversarial.shape == (1, 1, 4, 4)
    assert chunk.success.all() or ATTACKS[name].control


@pytest.mark.parametrize("name", ["linf_fgsm", "linf_bim", "l2_deepfool", "linf_fmn", "l2_fmn"])
def test_attacks_that_draw_nothing_do_not_depend_on_the_batch(known, name):
    together = run(known.model, known.images, known.labels, name)
    alone = [
        run(known.model, known.images[i : i + 1], known.labels[i : i + 1], name).adversarial
        for i in range(6)
    ]
    torch.testing.assert_close(together.adversarial, torch.cat(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_images_wrong_from_the_start_stay_as_they_are(known, name):
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    chunk = run(known.model, known.images, labels, name)
    assert torch.equal(chunk.adversarial[1::2], known.images[1::2])
    assert chunk.success[1::2].all()
    assert (chunk.distance[1::2] == 0).all()
    assert (chunk.clean_prediction == 0).all()
    # The others are attacked as if they were alone.
    alone = run(known.model, known.images[::2], labels[::2], name)
    assert torch.equal(chunk.adversarial[::2], alone.adversarial)


@pytest.mark.parametrize("name", ATTACKS)
def test_when_all_images_are_wrong_nothing_runs(known, name):
    chunk = run(known.model, known.images, known.labels + 1, name)
    assert torch.equal(chunk.adversarial, known.images)
    assert (chunk.forwards, chunk.backwards) == (0, 0)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_cannot_succeed_reports_no_success(known, name):
    chunk = run(Constant(), known.images, known.labels, name)
    assert not chunk.success.any()
    draws = ATTACKS[name].control or ATTACKS[name].family in ("pgd", "square")
    draws &= name != "linf_bim"
    if not draws:
        assert torch.equal(chunk.adversarial, known.images)
        assert (chunk.distance == 0).all()


@pytest.mark.parametrize("name", [name for name in ATTACKS if not ATTACKS[name].sizeless])
def test_an_eps_of_zero_moves_nothing(known, name):
    budget = Budget(name, 0.0)
    chunk = attack_chunk(
        known.model, known.images, known.labels, budget, seed=0, surrogate=known.model
    )
    assert torch.equal(chunk.adversarial, known.images)
    assert not chunk.success.any()


@pytest.mark.parametrize("name", ["linf_fgsm", "l2_carlini_wagner"])
def test_any_integer_type_of_labels_gives_the_same(known, name):
    found = [
        run(known.model, known.images, known.labels.to(dtype), name)
        for dtype in (torch.int64, torch.int32, torch.uint8)
    ]
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_images_that_track_gradients_give_results_that_do_not(known):
    images = known.images.clone().requires_grad_()
    chunk = run(known.model, images, known.labels, "linf_pgd")
    assert not chunk.adversarial.requires_grad
    assert not chunk.distance.requires_grad
    assert images.grad is None


def test_the_images_given_are_not_written_to(known):
    images = known.images.clone()
    for name in ATTACKS:
        run(known.model, images, known.labels, name)
    assert torch.equal(images, known.images)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: (x.flatten(1), x), r"return \(n, classes\) logits, got tuple"),
        (lambda x: {"logits": x.flatten(1)}, r"return \(n, classes\) logits, got dict"),
        (lambda x: x, r"return \(n, classes\) logits, got \(6, 1, 4, 4\)"),
        (lambda x: x.flatten(1).sum(1), r"return \(n, classes\) logits, got \(6,\)"),
        (lambda x: x.flatten(1).sum(1, keepdim=True), "at least 2 classes, got 1"),
    ],
)
def test_says_that_a_model_gives_no_logits(known, answer, message):
    with pytest.raises(ModelError, match=message):
        run(Answering(answer), known.images, known.labels, "linf_fgsm")


@pytest.mark.parametrize("name", GRADIENT)
def test_says_that_a_model_gives_no_gradient(known, name):
    model = Answering(lambda images: known.model(images).detach())
    with pytest.raises(ModelError, match="passes no gradient back to its images, which this att"):
        run(model, known.images, known.labels, name)


def test_a_decision_based_attack_needs_no_gradient(known):
    model = Answering(lambda images: known.model(images).detach())
    assert run(model, known.images, known.labels, "l2_hop_skip_jump").success.all()


@pytest.mark.parametrize("name", [n for n, spec in ATTACKS.items() if spec.takes_eps])
def test_an_attack_of_fixed_eps_asks_for_it(known, name):
    with pytest.raises(InputError, match=f"{name} needs an eps in pixels of .0, 1., for example"):
        attack_chunk(known.model, known.images, known.labels, Budget(name), seed=0)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget("pgd", 0.1), "no attack named 'pgd', choose from: linf_fgsm, linf_bim, linf_pgd"),
        (Budget("linf_pgd", -0.1), "a finite number and not negative, got -0.1"),
        (Budget("linf_pgd", float("nan")), "a finite number and not negative, got nan"),
        (Budget("l2_deepfool", float("inf")), "a finite number and not negative, got inf"),
    ],
)
def test_says_what_is_wrong_with_a_budget(known, budget, message):
    with pytest.raises(InputError, match=message):
        attack_chunk(known.model, known.images, known.labels, budget, seed=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 0, 0, 0, 0, 2]), "labels must run from 0 to 1, got 0 to 2"),
        (torch.zeros(6), "expected integer labels, got torch.float32"),
        (torch.zeros(5, dtype=torch.int64), "expected 6 labels, one per image"),
    ],
)
def test_says_what_is_wrong_with_labels(known, labels, message):
    with pytest.raises(InputError, match=message):
        run(known.model, known.images, labels, "linf_fgsm")
