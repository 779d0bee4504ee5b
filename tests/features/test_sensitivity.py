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
from advdetect.features.extractor import BACK
from advdetect.features.sensitivity import ALIGNMENT, alignment, lead
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


def agreement(extractor, model, pictures, *, sharpness=None):
    """Mean over the directions of the finest detail of brightness, ``(n,)``."""
    rows = extractor.rows(extractor.observe(model, pictures, sharpness=sharpness))
    ways = ("across", "down", "diagonal")
    return rows[:, [ALIGNMENT.index(along("brightness", 1, way)) for way in ways]].mean(1)


def stripes(width, *, vertical=True):
    """``(1, 1, 8, 8)`` stripes of 1 and -1."""
    line = torch.tensor([1.0, -1.0]).repeat_interleave(width).repeat(4 // width)
    picture = line.expand(8, 8)
    return (picture if vertical else picture.mT)[None, None]


def test_lead_by_hand():
    found = lead(torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 5.0]]))
    expected = [2 - math.log(math.e + 1), 5 - math.log(2)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_lead_does_not_level_off():
    sure = torch.tensor([[60.0, 0.0]], requires_grad=True)
    lead(sure).sum().backward()
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


def test_many_images_are_looked_at_in_parts(small, digits):
    images = digits["reference"].images[: 2 * BACK + 7]
    extractor = FeatureExtractor.fit(small.module, images, passes=2, gradient=True, units=64)
    whole = extractor.rows(extractor.observe(small.module, images))
    parts = [extractor.rows(extractor.observe(small.module, part)) for part in images.split(9)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-3, atol=1e-4)


def test_asking_for_the_gradient_adds_one_family_and_leaves_nothing_behind(small, digits):
    images = digits["reference"].images[:40].clone()
    model = copy.deepcopy(small.module)
    model.zero_grad()
    plain, both = (
        FeatureExtractor.fit(model, images, units=64, gradient=wanted) for wanted in (False, True)
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
    extractor = FeatureExtractor.fit(model, images, families=["sensitivity"])
    direction = torch.randn_like(images)

    def said(step, at=images):
        rows = extractor.rows(extractor.observe(model, at + step * direction, sharpness=4.0))
        return rows[:, 2:].sum()  # the logarithms are steep where detail is small

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
    extractor = FeatureExtractor.fit(model, some.images[:20], families=["sensitivity"])
    clean = agreement(extractor, model, some.images)

    def auroc(images):
        return (agreement(extractor, model, images)[:, None] > clean).double().mean().item()

    assert hit.success.sum() > 50
    assert auroc(hit.adversarial[hit.success]) > 0.65
    assert 0.35 < auroc(noise.adversarial) < 0.6


def test_a_guard_that_asks_for_the_gradient_is_saved_and_loaded(small, digits, tmp_path):
    images = digits["reference"].images
    guard = Guard.fit(small.module, images[:300], detector="clean-only", gradient=True, units=64)
    guard.save(tmp_path)
    again = Guard.load(tmp_path, model=small.module)
    new = digits["evaluation"].images
    torch.testing.assert_close(again(new).score, guard(new).score)
    assert again(new).flagged.double().mean() < 0.2  # new digits are as usual as others


def test_someone_who_knows_the_guard_can_follow_the_alignment(small, digits):
    """A guard whose score gives no gradient would only seem to hold."""
    images = digits["reference"].images
    extractor = FeatureExtractor.fit(small.module, images[:200], families=["sensitivity"])
    some = images[:100]
    pixels = some.clone().requires_grad_()
    steering = agreement(extractor, small.module, pixels, sharpness=4.0)
    (slope,) = torch.autograd.grad(steering.sum(), pixels)
    moved = (some - 2 / 255 * slope.sign()).clamp(0, 1)
    before, after = (agreement(extractor, small.module, part) for part in (some, moved))
    fell = after < before
    assert fell.double().mean() > 0.8


def test_an_attacker_is_told_what_the_guard_says(small, digits):
    images = digits["reference"].images
    guard = Guard.fit(small.module, images[:300], detector="clean-only", gradient=True, units=64)
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
