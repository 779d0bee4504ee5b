"""What a second look does to bits, worked out by hand."""

import math
from typing import get_type_hints

import pytest
import torch
from torch import nn

from advdetect import storage
from advdetect.cli.fit import fit
from advdetect.errors import FileError, InputError
from advdetect.features import FeatureExtractor
from advdetect.features.base import Observation
from advdetect.features.stability import StabilityFeatures
from advdetect.features.views import LOOKS
from advdetect.guard import Guard
from advdetect.guard.files import seal

# Class 0 fires in the first two of four units, class 1 in the last two.
FIRST, LAST = torch.tensor([[1.0, 1, -1, -1]]), torch.tensor([[-1.0, -1, 1, 1]])


def seen(before, after, logits=((2.0, 1.0),), then=((2.0, 1.0),)):
    again = Observation(torch.tensor(then), {"relu": after})
    return Observation(torch.tensor(logits), {"relu": before}, again=(again,))


@pytest.fixture
def fitted():
    both = torch.cat([FIRST, LAST])
    return StabilityFeatures(2, ("relu",), ("mirrored",)).fit(
        seen(both, both, ((1.0, 0.0), (0.0, 1.0)), ((1.0, 0.0), (0.0, 1.0)))
    )


def named(feature, rows):
    columns = [meaning.removesuffix(" (mirrored)") for _, meaning in feature.columns]
    return dict(zip(columns, rows[0], strict=True))


def test_nothing_flips_in_a_picture_that_looks_the_same(fitted):
    found = named(fitted, fitted.rows(seen(FIRST, FIRST)))
    assert found["bits that come on"] == found["bits that go off"] == 0
    assert found["log-likelihood gained, own"] == found["gap lost"] == found["softmax moved"] == 0
    # Every bit agrees with its class, whose rates are held within .01 and .99.
    assert found["log-likelihood again, own"].item() == pytest.approx(math.log(0.99), rel=1e-4)
    assert found["log-likelihood again, other"].item() == pytest.approx(math.log(0.01), rel=1e-4)


def test_flips_speak_for_the_class_that_they_go_to(fitted):
    # One of four bits goes off that its class has on, one comes on that the other class has on.
    after = torch.tensor([[1.0, -1, 1, -1]])
    found = named(fitted, fitted.rows(seen(FIRST, after)))
    assert found["bits that come on"].item() == found["bits that go off"].item() == 0.25
    step = 2 * math.log(99) / 4
    assert found["log-likelihood gained, own"].item() == pytest.approx(-step)
    assert found["log-likelihood gained, other"].item() == pytest.approx(step)
    assert found["log-likelihood gained, own minus runner-up"].item() == pytest.approx(-2 * step)


def test_what_becomes_of_the_decision(fitted):
    found = named(fitted, fitted.rows(seen(FIRST, FIRST, ((3.0, 1.0),), ((0.0, 0.0),))))
    assert found["own logit lost"].item() == 3
    assert found["gap lost"].item() == 2
    sure = 1 / (1 + math.exp(-2))
    assert found["softmax moved"].item() == pytest.approx(2 * (sure - 0.5), rel=1e-5)
    assert found["log of own probability again"].item() == pytest.approx(math.log(0.5), abs=1e-5)


class Columns(nn.Module):
    """Says on which side of a picture there is more light; its convolution sees one pixel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        nn.init.ones_(self.conv.weight)
        nn.init.constant_(self.conv.bias, -0.5)

    def forward(self, images):
        sides = torch.relu(self.conv(images)).mean(2).flatten(1)
        return sides @ torch.tensor([[1.0, 0], [0, 1]])


def test_bits_of_the_mirrored_picture_are_those_of_the_same_place():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 1, 1, 2).repeat(5, 1, 1, 1)
    model = Columns().eval()
    fitted = FeatureExtractor.fit(model, images, families=["stability"])
    extractor = FeatureExtractor(fitted.units, fitted.features, ("mirrored",))
    found = extractor.observe(model, images[:1])
    assert found.logits.tolist() == [[0.5, 0.0]]
    (again,) = found.again
    assert again.logits.tolist() == [[0.0, 0.5]]  # it was looked at mirrored
    assert torch.equal(again.layers["relu"], found.layers["relu"])  # and turned back


def test_the_look_that_changes_the_fewest_predictions_is_taken():
    # A picture of two columns: mirrored it is of the other class, smoothed it is not.
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 1, 1, 2).repeat(5, 1, 4, 1)
    model = Columns().eval()
    assert FeatureExtractor.fit(model, images, families=["stability"]).looks == ("smoothed",)
    # Half-planes up and down: mirrored it is the same picture.
    images = images.mT.contiguous()
    turned = nn.Sequential(Turn(), model)
    assert FeatureExtractor.fit(turned, images, families=["stability"]).looks == ("mirrored",)


class Turn(nn.Module):
    def forward(self, images):
        return images.mT


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_as_many_passes_are_made_as_are_asked_for(small, digits, passes):
    images = digits["reference"].images[:40]
    one, several = (
        FeatureExtractor.fit(small.module, images, units=64, passes=p) for p in (1, passes)
    )
    assert [*several.features] == [*one.features, *["stability"] * (passes > 1)]
    calls = []
    handle = small.module.register_forward_hook(lambda *_: calls.append(1))
    try:
        seen_again = several.observe(small.module, images[:3])
    finally:
        handle.remove()
    assert len(calls) == passes == len(set(several.looks)) + 1
    torch.testing.assert_close(seen_again.logits, one.observe(small.module, images[:3]).logits)
    for look, again in zip(several.looks, seen_again.again, strict=True):
        with torch.no_grad():
            changed = LOOKS[look].change(images[:3])
            torch.testing.assert_close(again.logits, small.module(changed))


def test_each_look_says_what_it_says_alone(small, digits):
    images = digits["reference"].images[:40]
    both = FeatureExtractor.fit(small.module, images, families=["stability"], passes=4)
    rows = both.rows(both.observe(small.module, images[:5]))
    for look, said in zip(both.looks, rows.chunk(3, dim=1), strict=True):
        alone = FeatureExtractor.load(both.config() | {"looks": [look]}, both.tensors())
        torch.testing.assert_close(alone.rows(alone.observe(small.module, images[:5])), said)


@pytest.mark.parametrize("passes", [2, 4])
def test_a_guard_of_several_passes_is_saved_and_loaded(small, digits, tmp_path, passes):
    images = digits["reference"].images
    guard = Guard.fit(small.module, images[:300], detector="clean-only", passes=passes, units=64)
    guard.save(tmp_path)
    again = Guard.load(tmp_path, model=small.module)
    new = digits["evaluation"].images[:5]
    torch.testing.assert_close(again(new).score, guard(new).score)


def test_a_guard_that_forgot_its_looks_is_refused(small, digits, tmp_path):
    images = digits["reference"].images[:300]
    Guard.fit(small.module, images, detector="clean-only", passes=2, units=64).save(tmp_path)
    about = storage.read_json(tmp_path / "guard.json")
    del about["features"]["looks"]
    about["sha256"]["guard.json"] = seal(about)
    storage.write_json(tmp_path / "guard.json", about)
    with pytest.raises(FileError, match="guard.json is incomplete: 'looks'"):
        Guard.load(tmp_path, model=small.module)


def test_a_guard_whose_columns_are_not_those_of_this_version_is_refused(small, digits, tmp_path):
    images = digits["reference"].images[:300]
    Guard.fit(small.module, images, detector="clean-only", passes=2, units=64).save(tmp_path)
    about = storage.read_json(tmp_path / "guard.json")
    about["features"]["looks"] = [*LOOKS]
    about["sha256"]["guard.json"] = seal(about)
    storage.write_json(tmp_path / "guard.json", about)
    with pytest.raises(
        FileError, match=r"another version of advdetect, on \d+ columns .* fit it anew"
    ):
        Guard.load(tmp_path, model=small.module)


def test_the_command_line_offers_as_many_passes_as_there_are():
    (option,) = get_type_hints(fit, include_extras=True)["passes"].__metadata__
    assert option.max == 1 + len(LOOKS)


def test_says_what_is_wrong(small, digits):
    images = digits["reference"].images
    with pytest.raises(InputError, match="passes must be 1 to 4, got 5"):
        Guard.fit(small.module, images, detector="clean-only", passes=5)
    with pytest.raises(InputError, match="detector softmax reads features of its own: passes st"):
        Guard.fit(small.module, images, detector="softmax", passes=2)
