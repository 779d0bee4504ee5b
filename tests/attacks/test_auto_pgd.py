"""Auto-PGD's ascent step by step, its loss by hand, and what it asks of a model."""

import pytest
import torch
from torch import nn

from advdetect.attacks.ascent import ascend, checkpoints
from advdetect.attacks.auto_pgd import CrossEntropyAutoPGD, TargetedAutoPGD
from advdetect.attacks.foolbox_attacks import foolbox
from advdetect.attacks.losses import margin, targeted_dlr
from advdetect.errors import InputError


def climb(loss, *, start, eps, steps, leaves=()):
    """Points that a climb from ``start`` around 0.5 asks about, and where it ends."""
    asked = []

    def objective(moved, lanes):
        asked.append(dict(zip(lanes.tolist(), moved.flatten().tolist(), strict=True)))
        x = moved.detach().requires_grad_()
        with torch.enable_grad():
            value = loss(x.flatten())
        (gradient,) = torch.autograd.grad(value.sum(), x)
        over = torch.tensor([(len(asked), lane) in leaves for lane in lanes.tolist()])
        return value.detach(), gradient, over

    start = torch.tensor(start, dtype=torch.float64).view(-1, 1, 1, 1)
    middle = torch.full_like(start, 0.5)
    best = ascend(objective, start, middle, eps=eps, norm="linf", steps=steps)
    return asked, best.flatten().tolist()


def test_checkpoints_of_a_hundred_steps_as_in_the_paper():
    # p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(checkpoints(10)) == [3, 5, 6, 7, 8, 9, 10]


def test_the_steps_by_hand():
    # f = -|x - 0.6| from 0.5 with eps 0.2, so that the first step size is 0.4. At the top, which
    # is the fourth point, the gradient depends on rounding.
    asked, best = climb(lambda x: -(x - 0.6).abs(), start=[0.5], eps=0.2, steps=5)
    expected = [
        0.5,
        # + 0.4, back to 0.7 by the budget; the first step has no momentum.
        0.7,
        # Down 0.4 to 0.3, of which 0.75, and 0.25 of the step before: 0.7 - 0.3 + 0.05.
        # The checkpoint at 2: no step of two raised the loss (-0.1, -0.1, -0.15), so that the
        # step is halved to 0.2 and the climb goes back to its best, 0.5.
        0.45,
        # + 0.2, to 0.7: 0.75 of it, and 0.25 of 0.5 - 0.7.
        0.6,
    ]
    assert [point[0] for point in asked[:4]] == pytest.approx(expected)
    assert best == pytest.approx([0.6])


def test_steps_that_pay_keep_their_size():
    # A slope: every step is cut by the budget, and all after the first raise nothing.
    asked, best = climb(lambda x: x, start=[0.4], eps=0.2, steps=4)
    assert [point[0] for point in asked] == pytest.approx([0.4, 0.7, 0.7, 0.7, 0.7])
    assert best == pytest.approx([0.7])


def test_a_lane_that_is_over_is_asked_about_no_more_and_the_others_go_on_as_if_alone():
    def hill(x):
        return -(x - 0.61).abs()

    together, best = climb(hill, start=[0.5, 0.4, 0.45], eps=0.2, steps=20, leaves={(3, 1)})
    assert [set(points) for points in together] == [{0, 1, 2}] * 3 + [{0, 2}] * 18
    alone, best_alone = climb(hill, start=[0.45], eps=0.2, steps=20)
    assert [points[2] for points in together] == [points[0] for points in alone]
    assert best[2] == best_alone[0] == pytest.approx(0.61, abs=0.01)


@pytest.mark.parametrize(
    ("logits", "target", "expected"),
    [
        ([5.0, 3.0, 2.0, 0.0], 1, (3 - 5) / (5 - (2 + 0) / 2)),
        ([5.0, 3.0, 2.0, 0.0], 3, (0 - 5) / (5 - 1)),
        ([3.0, 7.0, 2.0, 1.0], 1, (7 - 3) / (7 - 1.5)),
        ([5.0, 3.0, 1.0], 1, (3 - 5) / (5 - 1)),
        ([5.0, 3.0], 1, -2.0),
    ],
)
def test_the_targeted_dlr_loss_by_hand(logits, target, expected):
    loss = targeted_dlr(torch.tensor([logits]), torch.tensor([0]), torch.tensor([target]))
    assert loss.item() == pytest.approx(expected)
    if len(logits) > 2:
        scaled = targeted_dlr(
            100 * torch.tensor([logits]) + 7, torch.tensor([0]), torch.tensor([target])
        )
        assert scaled.item() == pytest.approx(expected)


def test_the_targeted_dlr_loss_as_torchattacks_has_it():
    torchattacks = pytest.importorskip("torchattacks")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 10, generator=generator)
    labels = torch.randint(0, 10, (50,), generator=generator)
    targets = (labels + torch.randint(1, 10, (50,), generator=generator)) % 10
    theirs = torchattacks.attacks.apgdt.APGDT(nn.Identity())
    torch.testing.assert_close(
        targeted_dlr(logits, labels, targets), theirs.dlr_loss_targeted(logits, labels, targets)
    )


def test_the_margin_by_hand():
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]])
    assert margin(logits, torch.tensor([1, 2])).tolist() == [-2.0, 2.0]


class Towards(nn.Module):
    """Four classes; the true one, 0, falls to class 3 alone, however likely 1 and 2 look."""

    def forward(self, images):
        x = images.flatten(1)[:, 0]
        nothing = 0 * x
        return torch.stack([nothing + 1, nothing + 0.9, nothing + 0.8, 2 * x - 0.5], 1)


def counted(model):
    passes = []
    model.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    return passes


def attacked(attack, model, images, labels, eps):
    fmodel = foolbox().PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return attack(fmodel, images, labels, epsilons=eps)


@pytest.mark.parametrize("lanes", [1, 100])
def test_targets_are_tried_until_one_gives_way(lanes):
    images, labels = torch.full((2, 1, 1, 1), 0.5), torch.zeros(2, dtype=torch.int64)
    attack = TargetedAutoPGD("linf", steps=5, lanes=lanes)
    _, found, success = attacked(attack, Towards(), images, labels, 0.3)
    assert success.all()
    assert (found > 0.75).all()
    assert not attacked(attack, Towards(), images, labels, 0.2)[2].any()
    first = TargetedAutoPGD("linf", steps=5, lanes=lanes, targets=1)
    assert not attacked(first, Towards(), images, labels, 0.3)[2].any()


@pytest.mark.parametrize("attack", [CrossEntropyAutoPGD, TargetedAutoPGD])
def test_a_broken_image_costs_no_more_passes(attack, known):
    passes = counted(known.model)
    middle = known.distance["linf"][2:4].mean().item()
    attacked(attack("linf", steps=30), known.model, known.images, known.labels, middle)
    # In steps of twice eps all that can be broken is broken at once; Foolbox looks at the end.
    assert passes[-1] == 6
    assert passes[-2] == 3
    assert sum(passes) < 6 + 6 + 6 + 31 * 6 - 3 * 20


@pytest.mark.parametrize("attack", [CrossEntropyAutoPGD, TargetedAutoPGD])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_reaches_the_largest_loss_of_a_plane(attack, norm, known):
    normal, eps = known.model.normal.detach(), known.distance[norm].min().item() * 0.9
    steepest = {"linf": normal.sign(), "l2": normal / normal.norm()}[norm]
    _, found, success = attacked(attack(norm), known.model, known.images, known.labels, eps)
    assert not success.any()
    best = known.model.margin(known.images - eps * steepest.view(1, 4, 4))
    drop = known.model.margin(known.images) - best
    reached = known.model.margin(known.images) - known.model.margin(found)
    assert (reached >= 0.99 * drop).all()
    assert (reached <= drop * (1 + 1e-4)).all()


def test_says_which_aims_and_models_it_cannot_take(known):
    attack = CrossEntropyAutoPGD("linf")
    aim = foolbox().criteria.TargetedMisclassification(known.labels)
    with pytest.raises(InputError, match="got TargetedMisclassification: these attacks seek any"):
        attacked(attack, known.model, known.images, aim, 0.1)
    wide = foolbox().PyTorchModel(known.model, bounds=(0, 255), device="cpu")
    with pytest.raises(InputError, match=r"expected a model with bounds \(0, 1\), got \(0, 255\)"):
        attack(wide, known.images, known.labels, epsilons=0.1)
