"""What passes of the model are made for a gradient, and what can be done with its columns."""

import copy

import pytest
import torch
from torch import nn

from advdetect import data
from advdetect.attacks import attack
from advdetect.errors import InputError, ModelError
from advdetect.features import FeatureExtractor
from advdetect.features.passes import BACK
from advdetect.features.sensitivity import (
    ALIGNMENT,
    REMOVED,
    SensitivityFeatures,
    alignment,
    removed_alignment,
)
from advdetect.features.views import LOOKS
from advdetect.guard import Guard
from advdetect.guard.target import GuardTarget
from advdetect.networks import load_model

OWN, GONE = "the picture's detail", "the detail removed"


def agreement(extractor, model, pictures, kind, *, sharpness=None):
    """Mean over the directions of the finest detail of brightness, ``(n,)``."""
    rows = extractor.rows(extractor.observe(model, pictures, sharpness=sharpness))
    finest = f"gradient along {kind}, brightness, scale 1, "
    return rows[:, [column.meaning.startswith(finest) for column in extractor.columns]].mean(1)


def asking(model, images, passes):
    """A guard that asks for the gradient, fitted on clean images alone."""
    return Guard.fit(model, images, detector="clean-only", passes=passes, gradient=True, units=64)


class Linear(nn.Module):
    """Logits that are linear in the pixels, with a ReLU that changes nothing."""

    def __init__(self, classes=3):
        super().__init__()
        torch.manual_seed(0)
        self.weights = nn.Parameter(torch.randn(classes, 1, 8, 8))

    def forward(self, images):
        return torch.einsum("kchw,nchw->nk", self.weights, torch.relu(images + 1) - 1)


def test_the_gradient_is_that_of_the_lead():
    model, images = Linear().eval(), torch.rand(5, 1, 8, 8)
    extractor = FeatureExtractor.fit(model, images, families=["sensitivity"])
    found = extractor.observe(model, images)
    weights, logits = model.weights.detach(), found.logits
    own = torch.nn.functional.one_hot(logits.argmax(1), 3)
    others = logits.masked_fill(own.bool(), -torch.inf).softmax(1)
    slope = torch.einsum("nk,kchw->nchw", own - others, weights)
    torch.testing.assert_close(found.alignment, alignment(images, slope))
    assert torch.equal(extractor.rows(found), found.alignment)


def test_where_a_look_removes_detail_the_gradient_is_that_of_what_is_left():
    model, images = Linear().eval(), torch.rand(40, 1, 8, 8)
    families = ["stability", "sensitivity"]
    extractor = FeatureExtractor.fit(model, images, families=families, passes=4)
    found = extractor.observe(model, images)
    again = dict(zip(extractor.looks, found.again, strict=True))
    assert {name: seen.alignment is None for name, seen in again.items()} == {
        name: not look.removes_detail for name, look in LOOKS.items()
    }
    own = torch.nn.functional.one_hot(found.predicted, 3)
    asked = [look for look in extractor.looks if LOOKS[look].removes_detail]
    rows = extractor.rows(found)[:, len(extractor.columns) - len(asked) * len(REMOVED) :]
    for look, said in zip(asked, rows.chunk(len(asked), dim=1), strict=True):
        # The class in question stays that of the picture itself, also where the look changes it.
        logits = again[look].logits
        assert (logits.argmax(1) != found.predicted).any()
        others = logits.masked_fill(own.bool(), -torch.inf).softmax(1)
        slope = torch.einsum("nk,kchw->nchw", own - others, model.weights.detach())
        expected = removed_alignment(images - LOOKS[look].change(images), slope)
        torch.testing.assert_close(again[look].alignment, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(said, again[look].alignment)
    assert [column.meaning for column in extractor.columns[-rows.shape[1] :]] == [
        f"{name} ({look})" for look in asked for name in REMOVED
    ]


@pytest.mark.parametrize(
    ("passes", "gradient", "counted"),
    [
        (1, False, {"bits", "neighbors", "graph", "magnitudes", "logits"}),
        (1, True, {"logits", "sensitivity"}),
        (2, False, {"logits", "stability"}),
        (4, True, {"logits", "stability", "sensitivity"}),
    ],
)
def test_a_distance_counts_what_is_of_the_decision_where_the_model_is_asked_more(
    small, digits, passes, gradient, counted
):
    images = digits["reference"].images[:40]
    extractor = FeatureExtractor.fit(
        small.module, images, units=64, passes=passes, gradient=gradient
    )
    assert {column.family for column in extractor.columns if column.counted} == counted
    others = {column.family for column in extractor.columns if not column.counted}
    assert others == set(extractor.features) - counted
    rising = [column for column in extractor.columns if column.rising]
    assert {column.family for column in rising} == ({"sensitivity"} if gradient else set())
    directions = 3 * 2 * 2  # on two scales, of brightness and of colour
    removing = sum(LOOKS[look].removes_detail for look in extractor.looks)
    assert len(rising) == gradient * directions * (1 + removing)
    assert all(column.meaning.startswith("gradient along") for column in rising)


@pytest.mark.parametrize("passes", [2, 4])
def test_many_images_are_looked_at_in_parts(small, digits, passes):
    images = digits["reference"].images[: 2 * BACK + 7]
    extractor = FeatureExtractor.fit(small.module, images, passes=passes, gradient=True, units=64)
    whole = extractor.rows(extractor.observe(small.module, images))
    parts = [extractor.rows(extractor.observe(small.module, part)) for part in images.split(9)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_asking_for_the_gradient_adds_one_family_and_leaves_nothing_behind(small, digits, passes):
    images = digits["reference"].images[:40].clone()
    model = copy.deepcopy(small.module)
    model.zero_grad()
    plain, both = (
        FeatureExtractor.fit(model, images, units=64, passes=passes, gradient=wanted)
        for wanted in (False, True)
    )
    assert [*both.features] == [*plain.features, "sensitivity"]
    asked, unasked = (e.rows(e.observe(model, images)) for e in (both, plain))
    torch.testing.assert_close(asked[:, : unasked.shape[1]], unasked)
    assert not asked.requires_grad
    both.observe(model, images, sharpness=4.0)
    assert not images.requires_grad
    assert images.grad is None
    assert all(weight.grad is None for weight in model.parameters())
    # A service judges in inference mode, where nothing could be differentiated.
    with torch.inference_mode():
        torch.testing.assert_close(both.rows(both.observe(model, images.clone())), asked)


def test_soft_rows_of_an_attacker_are_differentiated_twice():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 3))
    model = model.double().eval()
    images = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    looks, units = ("smoothed", "denoised"), {"1": torch.arange(144)}
    extractor = FeatureExtractor(units, {"sensitivity": SensitivityFeatures(3, (), looks)}, looks)
    asked = torch.tensor(["gradient along" in column.meaning for column in extractor.columns])
    assert asked.sum() == 3 * len(REMOVED)
    direction = torch.randn_like(images)

    def said(step, at=images):
        rows = extractor.rows(extractor.observe(model, at + step * direction, sharpness=4.0))
        return rows[:, asked].sum()

    pixels = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(said(0, pixels), pixels)
    numeric = (said(1e-6) - said(-1e-6)) / 2e-6
    assert (slope * direction).sum().item() == pytest.approx(numeric.item(), rel=1e-4)


def test_attacked_pictures_give_themselves_away_and_noisy_ones_do_not():
    model = load_model("fashion-resnet").module
    some = data.load("fashion-mnist", split="evaluation", limit=80)
    found = attack(model, some.images, some.labels, suite="quick", norm="linf", eps=8 / 255)
    by_name = {result.attack: result for result in found.results}
    hit, noise = by_name["linf_pgd"], by_name["linf_uniform_noise"]
    step = by_name["linf_fgsm"]
    families = ["stability", "sensitivity"]
    extractor = FeatureExtractor.fit(model, some.images[:20], families=families, passes=4)

    def auroc(images, kind):
        clean, found = (agreement(extractor, model, part, kind) for part in (some.images, images))
        return (found[:, None] > clean).double().mean().item()

    assert min(hit.success.sum(), step.success.sum()) > 50
    assert auroc(hit.adversarial[hit.success], OWN) > 0.65
    assert auroc(hit.adversarial[hit.success], GONE) > 0.75
    assert auroc(step.adversarial[step.success], GONE) > 0.6
    for kind in (OWN, GONE):
        assert 0.35 < auroc(noise.adversarial, kind) < 0.6


@pytest.mark.parametrize("passes", [1, 4])
def test_a_guard_that_asks_for_the_gradient_is_saved_and_loaded(small, digits, tmp_path, passes):
    images = digits["reference"].images
    guard = asking(small.module, images[:300], passes)
    guard.save(tmp_path)
    again = Guard.load(tmp_path, model=small.module)
    new = digits["evaluation"].images
    torch.testing.assert_close(again(new).score, guard(new).score)
    assert again(new).flagged.double().mean() < 0.2  # new digits are as usual as others


@pytest.mark.parametrize("kind", [OWN, GONE])
def test_someone_who_knows_the_guard_can_follow_the_alignment(small, digits, kind):
    """A guard whose score gives no gradient would only seem to hold."""
    images = digits["reference"].images
    families = ["stability", "sensitivity"]
    extractor = FeatureExtractor.fit(small.module, images[:200], families=families, passes=4)
    some = images[:100]
    pixels = some.clone().requires_grad_()
    steering = agreement(extractor, small.module, pixels, kind, sharpness=4.0)
    (slope,) = torch.autograd.grad(steering.sum(), pixels)
    moved = (some - 2 / 255 * slope.sign()).clamp(0, 1)
    before, after = (agreement(extractor, small.module, part, kind) for part in (some, moved))
    fell = after < before
    assert fell.double().mean() > 0.8


@pytest.mark.parametrize("passes", [1, 4])
def test_an_attacker_is_told_what_the_guard_says(small, digits, passes):
    images = digits["reference"].images
    guard = asking(small.module, images[:300], passes)
    target, new = GuardTarget(guard), digits["evaluation"].images[:20]
    look, answers = target.look(new.requires_grad_(), sharpness=2.0), target.ask(new.detach())
    assert torch.equal(look.p_value, answers.p_value)
    torch.testing.assert_close(look.true_score, answers.true_score)


class Attention(nn.Module):
    """A layer of attention over the rows of a picture."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        rows = images[:, 0]
        seen, _ = self.attention(rows, rows, rows, need_weights=False)
        return self.head(torch.relu(seen).mean(1))


def test_attention_can_be_differentiated_twice():
    torch.manual_seed(0)
    model, images = Attention().eval(), torch.rand(4, 1, 8, 8)
    extractor = FeatureExtractor.fit(model, images, gradient=True)
    pixels = images.clone().requires_grad_()
    rows = extractor.rows(extractor.observe(model, pixels, sharpness=4.0))
    (slope,) = torch.autograd.grad(rows[:, -len(ALIGNMENT) :].sum(), pixels)
    assert slope.isfinite().all()
    assert slope.any()


class Cut(nn.Module):
    """A model that passes no gradient back to its images."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        return self.module(images.detach())


def test_says_what_is_wrong(small, digits):
    images = digits["reference"].images[:300]
    cut, frozen = Cut(small.module).eval(), Cut(Linear()).eval()
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    for model in (cut, frozen):
        with pytest.raises(ModelError, match=r"passes no gradient back .*fit without it"):
            FeatureExtractor.fit(model, images, gradient=True)
    with pytest.raises(InputError, match="softmax reads features of its own: leave gradient out"):
        Guard.fit(small.module, images, detector="softmax", gradient=True)
