"""Changed pictures: each is one of those that there can be."""

import pytest
import torch

from advdetect.ensembles.augmenting import augment

CALM = {"shift": 0, "mirror": False, "noise": 0.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    """Pictures of four pixels by three that differ everywhere, and no pixel is black."""
    return 0.01 + 0.98 * torch.rand(60, 2, 4, 3, generator=generator(9))


def moved(image, down, right):
    """The picture behind a window that is moved, with black all round."""
    channels, height, width = image.shape
    found = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                found[:, y, x] = image[:, y + down, x + right]
    return found


def test_without_changes_pictures_are_the_same(images):
    assert torch.equal(augment(images, generator(), **CALM), images)


@pytest.mark.parametrize("shift", [1, 2])
def test_every_picture_is_mirrored_or_not_and_moved(images, shift):
    found = augment(images, generator(), shift=shift, mirror=True, noise=0)
    places = range(-shift, shift + 1)
    met = set()
    for image, changed in zip(images, found, strict=True):
        fitting = [
            (mirrored, down, right)
            for mirrored in (False, True)
            for down in places
            for right in places
            if torch.equal(changed, moved(image.flip(2) if mirrored else image, down, right))
        ]
        assert len(fitting) == 1
        met.add(fitting[0])
    # Of 60 draws among 18 or 50, and each part of a draw takes all its values.
    assert len(met) > 15
    assert [{draw[part] for draw in met} for part in range(3)] == [
        {False, True},
        set(places),
        set(places),
    ]


def test_half_are_mirrored(images):
    many = images[:1].expand(2000, 2, 4, 3)
    found = augment(many, generator(), shift=0, mirror=True, noise=0)
    mirrored = (found == many.flip(3)).flatten(1).all(1)
    assert (mirrored | (found == many).flatten(1).all(1)).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_who_is_mirrored_may_be_said(images):
    wanted = torch.arange(len(images)) % 3 == 0
    found = augment(images, generator(), **CALM | {"mirror": True}, mirrored=wanted)
    assert torch.equal(found[wanted], images[wanted].flip(3))
    assert torch.equal(found[~wanted], images[~wanted])


def test_noise_has_a_deviation_of_its_own_on_each_picture():
    grey = torch.full((200, 1, 20, 20), 0.5)
    found = augment(grey, generator(), shift=0, mirror=False, noise=0.1)
    deviations = (found - 0.5).flatten(1).std(1)
    assert deviations.min() < 0.01
    assert 0.09 < deviations.max() < 0.11
    assert deviations.mean().item() == pytest.approx(0.05, abs=0.006)  # uniform
    assert (found - 0.5).mean().item() == pytest.approx(0, abs=1e-3)


def test_a_square_is_black_and_lies_anywhere():
    white = torch.ones(3000, 2, 6, 5)
    found = augment(white, generator(), shift=0, mirror=False, noise=0, cutout=3)
    met = set()
    for picture in found:
        assert torch.equal(picture[0], picture[1])
        y, x = (picture[0] == 0).nonzero(as_tuple=True)
        rows, columns = y.unique().tolist(), x.unique().tolist()
        assert len(y) == len(rows) * len(columns)  # all of the square, and nothing else
        met.add((rows[0], len(rows), columns[0], len(columns)))
    # Centres on every pixel: at an edge two of three rows are left, elsewhere all three.
    places = {
        axis: {(max(c - 1, 0), min(c + 2, axis) - max(c - 1, 0)) for c in range(axis)}
        for axis in (6, 5)
    }
    assert met == {(*row, *column) for row in places[6] for column in places[5]}


def test_a_square_changes_nothing_that_is_drawn_before_it(images):
    options = {"shift": 1, "mirror": True, "noise": 0.1}
    without = augment(images, generator(), **options)
    covered = augment(images, generator(), **options, cutout=1)
    assert ((covered == without) | (covered == 0)).all()
    assert (covered != without).flatten(1).any(1).sum() > len(images) / 2


def test_noisy_pictures_are_pictures(images):
    found = augment(images, generator(), shift=1, mirror=True, noise=3.0)
    assert found.min() == 0
    assert found.max() == 1


def test_a_generator_decides_all(images):
    options = {"shift": 2, "mirror": True, "noise": 0.1}
    first = augment(images, generator(1), **options)
    assert torch.equal(augment(images, generator(1), **options), first)
    assert not torch.equal(augment(images, generator(2), **options), first)


@pytest.mark.parametrize("changes", [{"shift": 2}, {"mirror": True}, {"noise": 0.2}])
def test_an_option_does_not_change_what_others_draw(images, changes):
    # Where mirror, places and noise end, the generator stands where it stood without them.
    after = []
    for options in (CALM, CALM | changes):
        state = generator(4)
        augment(images, state, **options)
        after.append(torch.rand(3, generator=state))
    assert torch.equal(*after)


def test_a_shift_does_not_change_who_is_mirrored(images):
    alone = augment(images, generator(4), shift=0, mirror=True, noise=0)
    both = augment(images, generator(4), shift=1, mirror=True, noise=0)
    places = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    for mirrored, changed in zip(alone, both, strict=True):
        assert any(torch.equal(changed, moved(mirrored, *place)) for place in places)
