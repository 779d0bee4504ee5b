"""How the gradient of a decision lies along a picture's detail, worked out by hand."""

import copy
import math

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
    LITTLE,
    REMOVED,
    STEP,
    SensitivityFeatures,
    alignment,
    lead,
    removed_alignment,
)
from advdetect.features.views import LOOKS, smooth
from advdetect.guard import Guard
from advdetect.guard.target import GuardTarget
from advdetect.networks import load_model

SQUARE = 1 / 1.25**2  # what full agreement of even detail comes to


def named(pictures, gradients):
    rows = alignment(pictures, gradients)
    assert rows.shape == (len(pictures), len(ALIGNMENT))
    return dict(zip(ALIGNMENT, rows.T, strict=True))


def along(colour, scale, direction):
    return f"gradient along the picture's detail, {colour}, scale {scale}, {direction}"


def share(colour, scale):
    return f"share of the gradient in detail, {colour}, scale {scale}"


def agreement(extractor, model, pictures, kind, *, sharpness=None):
    """Mean over the directions of the finest detail of brightness, ``(n,)``."""
    rows = extractor.rows(extractor.observe(model, pictures, sharpness=sharpness))
    finest = f"gradient along {kind}, brightness, scale 1, "
    return rows[:, [column.meaning.startswith(finest) for column in extractor.columns]].mean(1)


def stripes(width, *, vertical=True):
    """``(1, 1, 8, 8)`` stripes of 1 and -1."""
    line = torch.tensor([1.0, -1.0]).repeat_interleave(width).repeat(4 // width)
    picture = line.expand(8, 8)
    return (picture if vertical else picture.mT)[None, None]


def test_lead_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    found = lead(logits, torch.tensor([0, 1]))
    expected = [2 - math.log(math.e + 1), -math.log(1 + math.exp(5))]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_lead_does_not_level_off():
    sure = torch.tensor([[60.0, 0.0]], requires_grad=True)
    lead(sure, torch.tensor([0])).sum().backward()
    assert sure.grad.tolist() == [[1, -1]]
    assert sure.detach().log_softmax(1)[0, 0] == 0  # here a logarithm of probability has no slope


def test_a_gradient_along_the_detail_agrees_and_one_against_it_does_not():
    picture = 0.5 + 0.1 * stripes(1)
    for sign in (1, -1):
        found = named(picture, sign * 3 * stripes(1))
        found_along = found[along("brightness", 1, "across")].item()
        assert found_along == pytest.approx(sign * SQUARE, rel=1e-4)
        assert found["size of the gradient"].item() == pytest.approx(math.log(3 * 8))
        assert found["spread of the gradient"].item() == pytest.approx(math.log(1 / 8))
        assert found[share("brightness", 1)].item() == pytest.approx(0, abs=1e-6)
        silent = [name for name in ALIGNMENT if name.startswith("gradient along")]
        silent.remove(along("brightness", 1, "across"))
        assert all(found[name].item() == 0 for name in silent)


@pytest.mark.parametrize(
    ("width", "vertical", "where"), [(1, False, (1, "down")), (2, True, (2, "across"))]
)
def test_each_direction_and_scale_is_seen_by_itself(width, vertical, where):
    pattern = stripes(width, vertical=vertical)
    found = named(pattern, pattern)
    seen = [name for name in ALIGNMENT if name.startswith("gradient along") and found[name] != 0]
    assert seen == [along("brightness", *where)]
    assert found[share("brightness", where[0])].item() == pytest.approx(0, abs=1e-6)


def test_what_differs_between_channels_is_colour():
    # Red up where blue is down: no change of brightness.
    pattern = torch.cat([stripes(1), torch.zeros(1, 1, 8, 8), -stripes(1)], dim=1)
    found = named(0.5 + 0.2 * pattern, pattern)
    assert found[along("brightness", 1, "across")] == 0
    # Two of three channels agree; the third has neither detail nor slope.
    size = 1 / (1 + 0.25 * 2 / 3)
    assert found[along("colour", 1, "across")].item() == pytest.approx(2 / 3 * size**2, rel=1e-4)
    assert found[share("colour", 1)].item() == pytest.approx(0, abs=1e-6)


def test_grey_pictures_have_no_colour():
    generator = torch.Generator().manual_seed(0)
    found = named(*torch.rand(2, 4, 1, 9, 7, generator=generator))
    colour = [name for name in ALIGNMENT if "colour" in name]
    assert len(colour) == len(ALIGNMENT[2:]) // 2
    assert not any(found[name].any() for name in colour)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_picture_too_small_for_detail_says_nothing_and_stays_finite(size):
    found = named(*torch.rand(2, 2, 3, size, size))
    assert all(column.isfinite().all() for column in found.values())
    scales = [1, 2] if size == 1 else [2]
    for scale in scales:
        assert not any(found[name].any() for name in ALIGNMENT if f", scale {scale}, " in name)


def test_no_gradient_and_no_detail_stay_finite():
    flat, none = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 3, 8, 8, requires_grad=True)
    rows = alignment(flat, none)
    assert rows.isfinite().all()
    (slope,) = torch.autograd.grad(rows.sum(), none)
    assert slope.isfinite().all()


def removed_named(removed, gradients):
    rows = removed_alignment(removed, gradients)
    assert rows.shape == (len(removed), len(REMOVED))
    return dict(zip(REMOVED, rows.T, strict=True))


def along_removed(colour, scale, direction):
    return f"gradient along the detail removed, {colour}, scale {scale}, {direction}"


def test_a_gradient_along_what_was_removed_by_hand():
    # Stripes of a and -a have Haar detail of size 2 a, here one step.
    removed, peak = STEP / 2 * stripes(1), math.exp(-1 / 2)
    for sign in (1, -1):
        found = removed_named(removed, sign * 3 * stripes(1))
        expected = sign * peak / (peak + LITTLE)
        own = along_removed("brightness", 1, "across")
        assert found[own].item() == pytest.approx(expected, rel=1e-4)
        assert all(found[name].abs().item() < 1e-6 for name in REMOVED if name != own)


@pytest.mark.parametrize(
    ("width", "vertical", "where"), [(1, False, (1, "down")), (2, True, (2, "across"))]
)
def test_each_direction_and_scale_of_what_was_removed_is_seen_by_itself(width, vertical, where):
    pattern = STEP / 2 * stripes(width, vertical=vertical)
    found = removed_named(pattern, pattern)
    assert [name for name in REMOVED if found[name].abs() > 1e-6] == [
        along_removed("brightness", *where)
    ]


def test_diagonals_and_colours_of_what_was_removed():
    pattern = STEP / 2 * stripes(1) * stripes(1, vertical=False)
    pattern = torch.cat([pattern, torch.zeros(1, 1, 8, 8), -pattern], dim=1)
    found = removed_named(pattern, pattern)
    assert [name for name in REMOVED if found[name].abs() > 1e-6] == [
        along_removed("colour", 1, "diagonal")
    ]
    grey = removed_named(*torch.rand(2, 4, 1, 9, 7))
    assert not any(grey[name].any() for name in REMOVED if "colour" in name)


def test_edges_of_the_picture_itself_hardly_count():
    own = along_removed("brightness", 1, "across")
    edges = removed_named(8 * STEP * stripes(1), stripes(1))[own].item()
    dust = removed_named(STEP / 1000 * stripes(1), stripes(1))[own].item()
    assert abs(edges) < 1e-6
    assert 0 < dust < 0.05


@pytest.mark.parametrize("size", [1, 8, 64])
def test_noise_agrees_no_more_the_stronger_it_is(size):
    generator = torch.Generator().manual_seed(size)
    noise = size / 255 * torch.randn(50, 3, 32, 32, generator=generator)
    rows = removed_alignment(noise, torch.randn(50, 3, 32, 32, generator=generator))
    assert rows.mean(0).abs().max() < 0.05
    assert rows.std(0).max() < 2 / 8  # twice the chance of 64 values, the fewest of any column


def test_nothing_removed_and_no_gradient_stay_finite():
    nothing = torch.zeros(2, 3, 8, 8, requires_grad=True)
    rows = removed_alignment(nothing, nothing)
    assert not rows.any()
    (slope,) = torch.autograd.grad(rows.sum(), nothing)
    assert slope.isfinite().all()
    assert removed_alignment(*torch.rand(2, 2, 3, 1, 1)).tolist() == [[0] * len(REMOVED)] * 2


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
    extractor = FeatureExtractor.fit(model, images, families=families, passes=3)
    found = extractor.observe(model, images)
    again = dict(zip(extractor.looks, found.again, strict=True))
    assert {name: seen.alignment is None for name, seen in again.items()} == {
        name: not look.removes_detail for name, look in LOOKS.items()
    }
    # The class in question stays that of the picture itself, also where smoothing changes it.
    logits = again["smoothed"].logits
    own = torch.nn.functional.one_hot(found.predicted, 3)
    assert (logits.argmax(1) != found.predicted).any()
    others = logits.masked_fill(own.bool(), -torch.inf).softmax(1)
    slope = torch.einsum("nk,kchw->nchw", own - others, model.weights.detach())
    expected = removed_alignment(images - smooth(images), slope)
    torch.testing.assert_close(again["smoothed"].alignment, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(extractor.rows(found)[:, -len(REMOVED) :], again["smoothed"].alignment)
    assert [column.meaning for column in extractor.columns[-len(REMOVED) :]] == [
        f"{name} (smoothed)" for name in REMOVED
    ]


@pytest.mark.parametrize("passes", [2, 3])
def test_many_images_are_looked_at_in_parts(small, digits, passes):
    images = digits["reference"].images[: 2 * BACK + 7]
    extractor = FeatureExtractor.fit(small.module, images, passes=passes, gradient=True, units=64)
    whole = extractor.rows(extractor.observe(small.module, images))
    parts = [extractor.rows(extractor.observe(small.module, part)) for part in images.split(9)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("passes", [1, 2, 3])
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
    looks, units = ("smoothed",), {"1": torch.arange(144)}
    extractor = FeatureExtractor(units, {"sensitivity": SensitivityFeatures(3, (), looks)}, looks)
    asked = torch.tensor(["gradient along" in column.meaning for column in extractor.columns])
    assert asked.sum() == 2 * len(REMOVED)
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
    extractor = FeatureExtractor.fit(model, some.images[:20], families=families, passes=3)

    def auroc(images, kind):
        clean, found = (agreement(extractor, model, part, kind) for part in (some.images, images))
        return (found[:, None] > clean).double().mean().item()

    own, removed = "the picture's detail", "the detail removed"
    assert min(hit.success.sum(), step.success.sum()) > 50
    assert auroc(hit.adversarial[hit.success], own) > 0.65
    assert auroc(hit.adversarial[hit.success], removed) > 0.75
    assert auroc(step.adversarial[step.success], removed) > 0.6
    for kind in (own, removed):
        assert 0.35 < auroc(noise.adversarial, kind) < 0.6


@pytest.mark.parametrize("passes", [1, 3])
def test_a_guard_that_asks_for_the_gradient_is_saved_and_loaded(small, digits, tmp_path, passes):
    images = digits["reference"].images
    guard = Guard.fit(
        small.module,
        images[:300],
        detector="clean-only",
        passes=passes,
        gradient=True,
        units=64,
    )
    guard.save(tmp_path)
    again = Guard.load(tmp_path, model=small.module)
    new = digits["evaluation"].images
    torch.testing.assert_close(again(new).score, guard(new).score)
    assert again(new).flagged.double().mean() < 0.2  # new digits are as usual as others


@pytest.mark.parametrize("kind", ["the picture's detail", "the detail removed"])
def test_someone_who_knows_the_guard_can_follow_the_alignment(small, digits, kind):
    """A guard whose score gives no gradient would only seem to hold."""
    images = digits["reference"].images
    families = ["stability", "sensitivity"]
    extractor = FeatureExtractor.fit(small.module, images[:200], families=families, passes=3)
    some = images[:100]
    pixels = some.clone().requires_grad_()
    steering = agreement(extractor, small.module, pixels, kind, sharpness=4.0)
    (slope,) = torch.autograd.grad(steering.sum(), pixels)
    moved = (some - 2 / 255 * slope.sign()).clamp(0, 1)
    before, after = (agreement(extractor, small.module, part, kind) for part in (some, moved))
    fell = after < before
    assert fell.double().mean() > 0.8


@pytest.mark.parametrize("passes", [1, 3])
def test_an_attacker_is_told_what_the_guard_says(small, digits, passes):
    images = digits["reference"].images
    guard = Guard.fit(
        small.module,
        images[:300],
        detector="clean-only",
        passes=passes,
        gradient=True,
        units=64,
    )
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
