"""Pictures looked at otherwise, pixel by pixel."""

import math

import pytest
import torch

from advdetect.features.views import (
    ALIKE,
    LOOKS,
    NEAR,
    REACH,
    denoise,
    mirror,
    mirrored_places,
    smooth,
)


def test_smoothing_by_hand():
    dot = torch.zeros(1, 2, 5, 5)
    dot[0, 1, 2, 2] = 16
    expected = torch.zeros(1, 2, 5, 5)
    expected[0, 1, 1:4, 1:4] = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert torch.equal(smooth(dot), expected)


def test_smoothing_leaves_an_even_picture_to_its_edge():
    even = torch.full((1, 3, 4, 4), 0.3)
    torch.testing.assert_close(smooth(even), even)


def test_mirroring_by_hand():
    picture = torch.arange(6.0).view(1, 1, 2, 3)
    assert mirror(picture).tolist() == [[[[2, 1, 0], [5, 4, 3]]]]


def by_hand(picture, row, column):
    """The weighted mean around one pixel of ``(c, h, w)``."""
    _, height, width = picture.shape
    own, total, weights = picture[:, row, column], 0, 0
    for down in range(-REACH, REACH + 1):
        for across in range(-REACH, REACH + 1):
            # Beyond the edge the last pixel counts again.
            other = picture[
                :, min(max(row + down, 0), height - 1), min(max(column + across, 0), width - 1)
            ]
            differ = math.sqrt((other - own).square().mean().item())
            weight = math.exp(-(down**2 + across**2) / (2 * NEAR**2) - differ**2 / (2 * ALIKE**2))
            total, weights = total + weight * other, weights + weight
    return total / weights


@pytest.mark.parametrize("channels", [1, 3])
def test_denoising_is_a_bilateral_filter(channels):
    torch.manual_seed(0)
    picture = torch.rand(channels, 6, 7, dtype=torch.float64)
    found = denoise(picture[None])[0]
    for row, column in ((0, 0), (3, 3), (5, 6), (2, 5)):
        torch.testing.assert_close(found[:, row, column], by_hand(picture, row, column))


def test_noise_goes_and_edges_stay():
    torch.manual_seed(0)
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., 16:] = 1
    noise = 8 / 255 * torch.randn(picture.shape).sign()
    left = denoise(picture + noise) - picture
    assert left.square().mean() < 0.2 * noise.square().mean()
    torch.testing.assert_close(denoise(picture), picture, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_pictures_and_those_of_one_colour(size):
    plain = torch.full((2, 1, size, size), 0.3)
    torch.testing.assert_close(denoise(plain), plain)


def test_gradients_flow_through():
    torch.manual_seed(0)
    images = torch.rand(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(denoise, images)


@pytest.mark.parametrize(
    "layout",
    [
        lambda maps: maps,
        lambda maps: maps.movedim(1, 3),
        lambda maps: maps.flatten(2).mT,
        lambda maps: torch.cat([torch.ones(2, 1, 5), maps.flatten(2).mT], dim=1),
        lambda maps: torch.cat([torch.ones(2, 5, 5), maps.flatten(2).mT], dim=1),
        lambda maps: maps.mean((2, 3)),
    ],
    ids=["channels first", "channels last", "tokens", "a class token", "registers", "vectors"],
)
def test_features_of_mirrored_pictures_find_their_places_again(layout):
    """Whatever is done to every place alike, and laid out so."""
    images = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    mixing = torch.randn(5, 3, 1, 1, generator=torch.Generator().manual_seed(1))

    def features(pictures):
        return layout(torch.nn.functional.conv2d(pictures, mixing))

    look, expected = LOOKS["mirrored"], features(images)
    units = torch.randperm(expected[0].numel())
    found = features(look.change(images)).flatten(1)[:, look.places(units, expected.shape[1:])]
    torch.testing.assert_close(found, expected.flatten(1)[:, units])


def test_units_of_what_is_no_map_stay():
    units = torch.tensor([3, 0, 7])
    for shape in ((11,), (12, 3), (2, 3, 4, 5), (4, 3, 1)):
        assert mirrored_places(units, shape) is units


def test_units_of_a_mirrored_map_by_hand():
    """Three channels of two rows of three."""
    units = torch.tensor([0, 1, 2, 5, 6, 11])
    assert mirrored_places(units, (3, 2, 3)).tolist() == [2, 1, 0, 3, 8, 9]
