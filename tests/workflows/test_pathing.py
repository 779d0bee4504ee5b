"""Networks as paths, on networks whose paths are known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from advdetect import data
from advdetect.errors import InputError
from advdetect.networks import build
from advdetect.workflows.drawing import write_paths
from advdetect.workflows.pathing import LOGITS, PIXELS, trace_networks


class Rotates(nn.Module):
    """Turns the features about without bending them: a path of no length."""

    def forward(self, images):
        return torch.relu(images.flatten(1).flip(1))


class Knows(nn.Module):
    """Puts out a one-hot label that is written in the first pixels."""

    def forward(self, images):
        return torch.relu(images.flatten(1)[:, :2])


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", split="evaluation", limit=40)


def test_a_rotation_goes_nowhere(digits):
    path = trace_networks({"still": Rotates()}, digits).networks["still"]
    assert path.layers == (PIXELS, "relu", LOGITS)
    assert path.length == pytest.approx(0, abs=1e-6)
    assert path.target_distances[0] == pytest.approx(path.target_distances[-1])


def test_who_knows_the_label_arrives():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(30, 1, 1, 6, generator=generator)
    labels = torch.arange(30) % 2
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = (labels == 0).float(), (labels == 1).float()
    made = data.ImageSet("made", "evaluation", pixels, labels, torch.arange(30), ("a", "b"))
    found = trace_networks({"knows": Knows()}, made)
    path = found.networks["knows"]
    assert path.target_distances[1] == pytest.approx(0, abs=1e-6)
    assert path.target_shares[1] == pytest.approx(1)
    assert path.straightness == pytest.approx(1)
    assert found.stress == pytest.approx(0, abs=1e-6)  # three points lie in a plane
    np.testing.assert_allclose(found.places["knows"][1], found.target, atol=1e-6)


def test_networks_share_the_pixels_and_the_plane(digits):
    def network(seed):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return build(
                {
                    "kind": "network",
                    "name": "vgg",
                    "arguments": {
                        "mean": [0.3],
                        "std": [0.4],
                        "width": 4,
                        "convolutions": [1, 1],
                    },
                }
            ).eval()

    found = trace_networks({"a": network(0), "b": network(1)}, digits, space="angular-shape")
    assert found.places["a"].shape == (4, 2)
    np.testing.assert_array_equal(found.places["a"][0], found.places["b"][0])
    first = found.networks["a"]
    assert first.length == pytest.approx(sum(first.step_lengths))
    assert 0 < first.straightness <= 1
    assert all(0 <= angle <= math.pi for angle in first.turning_angles)
    assert 0 <= found.stress < 0.5
    assert found.to_json()["networks"]["b"]["layers"][0] == PIXELS


def test_the_figure_is_written(digits, tmp_path):
    (picture,) = write_paths(trace_networks({"still": Rotates()}, digits), tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.with_suffix(".json").is_file()


def test_says_what_is_wrong(digits):
    with pytest.raises(InputError, match="at least one network"):
        trace_networks({}, digits)
    with pytest.raises(InputError, match="space.*angular-cka"):
        trace_networks({"still": Rotates()}, digits, space="flat")
    one_class = digits.subset((digits.labels == 3).nonzero().flatten().tolist())
    with pytest.raises(InputError, match="at least two classes"):
        trace_networks({"still": Rotates()}, one_class)
