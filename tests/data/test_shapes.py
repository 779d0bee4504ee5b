"""Sizes and channels against pixels worked out by hand."""

import pytest
import torch

from advdetect.data.shapes import check_wanted, fit_images, resize, without_loss
from advdetect.errors import InputError


def test_grey_is_repeated_into_colour():
    grey = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    colour = fit_images(grey, size=None, channels=3)
    assert colour.shape == (2, 3, 3, 3)
    assert (colour == grey).all()


def test_colour_becomes_its_luma():
    pure = torch.eye(3).view(3, 3, 1, 1)  # a red, a green and a blue pixel
    grey = fit_images(pure, size=None, channels=1)
    torch.testing.assert_close(grey.flatten(), torch.tensor([0.299, 0.587, 0.114]))


def test_white_stays_white():
    assert fit_images(torch.ones(1, 3, 2, 2), size=None, channels=1).max() == 1


def test_pictures_as_wanted_are_left_alone():
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert fit_images(images, size=(4, 4), channels=3) is images


def test_halving_a_picture_averages_with_a_triangle():
    # The antialiasing filter of scale 2 is a triangle over four pixels, weights 1 3 3 1
    # inside, and 3 3 1 at a border, each divided by its sum.
    row = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 0.0]).view(1, 1, 1, 6)
    expected = torch.tensor([3 / 7, (1 + 1) / 8, 3 / 7])
    torch.testing.assert_close(resize(row, (1, 3)).flatten(), expected)


def test_resizing_keeps_a_constant_picture_and_the_range():
    assert (resize(torch.ones(1, 1, 7, 5), (3, 9)) == 1).all()
    noise = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)).round()
    scaled = resize(noise, (5, 20))
    assert scaled.shape == (1, 3, 5, 20)
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_grey_in_colour_loses_nothing_either_way():
    grey = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    colour = without_loss(grey, 3)
    assert colour.shape == (3, 4, 4)
    assert (without_loss(colour, 1) == grey).all()


def test_colour_does_not_become_grey_by_itself():
    colour = torch.zeros(3, 2, 2)
    colour[2, 1, 1] = 0.01
    with pytest.raises(InputError, match="expected a grey picture, got a coloured one: convert"):
        without_loss(colour, 1)


def test_other_channels_are_refused():
    with pytest.raises(InputError, match="expected 4 channels, got 3"):
        without_loss(torch.zeros(3, 2, 2), 4)


@pytest.mark.parametrize(
    ("size", "channels", "message"),
    [
        ((0, 4), None, r"size of \(height, width\) in pixels, got \(0, 4\)"),
        ((4,), None, r"size of \(height, width\)"),
        (None, 2, "expected 1 channel .* or 3 .*, got 2"),
    ],
)
def test_says_what_is_wrong_with_a_wish(size, channels, message):
    with pytest.raises(InputError, match=message):
        check_wanted(size, channels)
