"""What one network knows of the labels beyond another, on networks that know it all or nothing."""

import pytest
import torch
from torch import nn

from advdetect.data import ImageSet
from advdetect.errors import InputError
from advdetect.workflows.conditioning import check_conditions, knowledge_beyond
from advdetect.workflows.representing import View


@pytest.fixture(scope="module")
def images():
    """Pixels 0 and 1 say the label's two halves, pixels 2 and 3 nothing."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (400,), generator=generator)
    pixels = torch.rand(400, 1, 1, 4, generator=generator)
    pixels[:, 0, 0, 0] = labels % 2
    pixels[:, 0, 0, 1] = labels // 2
    return ImageSet("made", "evaluation", pixels, labels, torch.arange(400), ("a", "b", "c", "d"))


class Sees(nn.Module):
    """A layer that lets some of the pixels through."""

    def __init__(self, *pixels):
        super().__init__()
        self.pixels = list(pixels)

    def forward(self, images):
        return torch.relu(images.flatten(1)[:, self.pixels])


def known(network, given, images, **view):
    found = knowledge_beyond(("a", network), ("b", given), images, view=View(**view))
    (layer,) = found.layers
    return layer


def test_half_of_the_label_is_known_beyond_the_other_half(images):
    layer = known(Sees(0), Sees(1), images)
    assert layer.labels > 0.3
    assert layer.labels_beyond > layer.labels  # the rest of the label is taken out of the way


def test_nothing_is_known_beyond_oneself(images):
    layer = known(Sees(0, 1), Sees(0, 1), images)
    assert layer.labels > 0.9
    assert layer.labels_beyond == pytest.approx(0, abs=0.05)


def test_chance_is_about_zero_in_batches_too(images):
    layer = known(Sees(2, 3), Sees(0), images, batch=100)
    assert layer.labels == pytest.approx(0, abs=0.03)
    assert layer.labels_beyond == pytest.approx(0, abs=0.03)


def test_names_what_it_held_against(images):
    found = knowledge_beyond(("a", Sees(0)), ("b", Sees(1)), images, view=View(batch=150))
    assert (found.network, found.given, found.given_layer) == ("a", "b", "relu")
    assert (found.images, found.batch) == (300, 150)
    assert found.to_json()["layers"][0]["layer"] == "relu"


def test_says_what_is_wrong(images):
    with pytest.raises(InputError, match="at least 4 images"):
        knowledge_beyond(("a", Sees(0)), ("b", Sees(1)), images.subset(range(3)))
    with pytest.raises(InputError, match="go together"):
        check_conditions(["a"], "b", None)
    with pytest.raises(InputError, match="expects labels, got 'pixels'"):
        check_conditions(["a"], "b", "pixels")
    with pytest.raises(InputError, match="at least two models"):
        check_conditions(["a"], None, None)
