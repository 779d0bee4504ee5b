"""How the gradient of a decision lies along a picture's detail, worked out by hand."""

import math

import pytest
import torch

from advdetect.features.sensitivity import (
    ALIGNMENT,
    LITTLE,
    REMOVED,
    STEP,
    alignment,
    lead,
    removed_alignment,
)

OWN, GONE = "the picture's detail", "the detail removed"
SQUARE = 1 / 1.25**2  # what full agreement of even detail comes to


def named(pictures, gradients, kind=OWN):
    measure, names = {OWN: (alignment, ALIGNMENT), GONE: (removed_alignment, REMOVED)}[kind]
    rows = measure(pictures, gradients)
    assert rows.shape == (len(pictures), len(names))
    return dict(zip(names, rows.T, strict=True))


def along(colour, scale, direction, kind=OWN):
    return f"gradient along {kind}, {colour}, scale {scale}, {direction}"


def share(colour, scale):
    return f"share of the gradient in detail, {colour}, scale {scale}"


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
    pattern = STEP / 2 * stripes(width, vertical=vertical)
    for kind in (OWN, GONE):
        found = named(pattern, pattern, kind)
        along_it = [name for name in found if name.startswith("gradient along")]
        assert [name for name in along_it if found[name].abs() > 1e-6] == [
            along("brightness", *where, kind)
        ]
    share_of_it = named(pattern, pattern)[share("brightness", where[0])]
    assert share_of_it.item() == pytest.approx(0, abs=1e-6)


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


def test_a_gradient_along_what_was_removed_by_hand():
    # Stripes of a and -a have Haar detail of size 2 a, here one step.
    removed, peak = STEP / 2 * stripes(1), math.exp(-1 / 2)
    for sign in (1, -1):
        found = named(removed, sign * 3 * stripes(1), GONE)
        expected = sign * peak / (peak + LITTLE)
        own = along("brightness", 1, "across", GONE)
        assert found[own].item() == pytest.approx(expected, rel=1e-4)
        assert all(found[name].abs().item() < 1e-6 for name in REMOVED if name != own)


def test_diagonals_and_colours_of_what_was_removed():
    pattern = STEP / 2 * stripes(1) * stripes(1, vertical=False)
    pattern = torch.cat([pattern, torch.zeros(1, 1, 8, 8), -pattern], dim=1)
    found = named(pattern, pattern, GONE)
    assert [name for name in REMOVED if found[name].abs() > 1e-6] == [
        along("colour", 1, "diagonal", GONE)
    ]
    grey = named(*torch.rand(2, 4, 1, 9, 7), GONE)
    assert not any(grey[name].any() for name in REMOVED if "colour" in name)


def test_edges_of_the_picture_itself_hardly_count():
    own = along("brightness", 1, "across", GONE)
    edges = named(8 * STEP * stripes(1), stripes(1), GONE)[own].item()
    dust = named(STEP / 1000 * stripes(1), stripes(1), GONE)[own].item()
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
