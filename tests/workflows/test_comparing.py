"""Layers of one network against those of another."""

import numpy as np
import pytest
import torch
from torch import nn

from advdetect import data
from advdetect.errors import InputError, ModelError
from advdetect.networks import build
from advdetect.similarity import MEASURES
from advdetect.workflows.comparing import compare_networks
from advdetect.workflows.representing import View, layer_outputs


def network(seed, name="vgg", **arguments):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        pixels = {"mean": [0.3], "std": [0.4], "width": 4}
        return build({"kind": "network", "name": name, "arguments": pixels | arguments}).eval()


@pytest.fixture(scope="module")
def images():
    return data.load("digits", split="evaluation", limit=60)


@pytest.fixture(scope="module")
def pair():
    return {
        "a": network(0, convolutions=(2, 1)),
        "b": network(1, name="resnet", blocks=(1,), width=3),
    }


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_is_that_of_the_flattened_outputs(measure, pair, images):
    (found,) = compare_networks(pair, images, (measure,))
    left, right = (layer_outputs(net, images.images)[0] for net in pair.values())
    assert (found.rows, found.columns) == (tuple(left), tuple(right))
    assert found.similarity.shape == (3, 3)
    for i, x in enumerate(left.values()):
        for j, y in enumerate(right.values()):
            expected = MEASURES[measure](x, y).item()
            if measure in ("pwcca", "linear_regression_r2"):
                expected = (expected + MEASURES[measure](y, x).item()) / 2
            assert found.similarity[i, j] == pytest.approx(expected, abs=2e-4)


def test_outputs_are_what_the_relu_lets_through(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 2))
    outputs, logits = layer_outputs(model, images.images)
    with torch.no_grad():
        torch.testing.assert_close(outputs["2"], model[:3](images.images))
        torch.testing.assert_close(logits, model(images.images))


def test_pooling_averages_each_channel(pair, images):
    flat, _ = layer_outputs(pair["a"], images.images)
    pooled, _ = layer_outputs(pair["a"], images.images, View(pooled=True))
    for layer, x in flat.items():
        channels = pooled[layer].shape[1]
        torch.testing.assert_close(pooled[layer], x.unflatten(1, (channels, -1)).mean(2))


def test_a_network_finds_its_own_layers(pair, images):
    same = {"first": pair["a"], "again": pair["a"]}
    (found,) = compare_networks(same, images)
    np.testing.assert_allclose(np.diag(found.similarity), 1, atol=1e-6)
    assert found.found == (6, 6)
    assert [m.found for m in found.forward] == list(found.rows)
    assert found.to_json()["correspondence"]["same_layer_found"] == {"count": 6, "n": 6}


def test_matches_follow_rows_one_way_and_columns_the_other(pair, images):
    (found,) = compare_networks(pair, images, ("linear_cka",))
    assert found.found is None  # other layers: nothing has a namesake
    for match, row in zip(found.forward, found.similarity, strict=True):
        assert match.similarity == row.max()
        assert match.found == found.columns[row.argmax()]
    for match, column in zip(found.backward, found.similarity.T, strict=True):
        assert match.similarity == column.max()
        assert match.found == found.rows[column.argmax()]


def test_batches_are_averaged_and_a_rest_is_left_out(pair, images):
    (whole,) = compare_networks(pair, images, ("graph_similarity",), view=View(batch=25))
    parts = [images.subset(range(25)), images.subset(range(25, 50))]
    each = [compare_networks(pair, part, ("graph_similarity",))[0].similarity for part in parts]
    assert (whole.images, whole.batch) == (50, 25)
    np.testing.assert_allclose(whole.similarity, np.mean(each, axis=0))


def test_unbiased_cka_hardly_depends_on_the_batch(pair, images):
    found = [
        compare_networks(pair, images, view=View(batch=batch))[0].similarity for batch in (20, 60)
    ]
    assert np.abs(found[0] - found[1]).max() < 0.05


def test_chosen_layers_of_three_networks(pair, images):
    three = pair | {"c": network(2, convolutions=(2, 1))}
    found = compare_networks(three, images, view=View(layers=["*relu", "stages.*.1"]))
    assert [(c.first, c.second) for c in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found[0].rows == ("stages.0.1",)
    assert found[0].columns == ("relu",)


def test_says_what_is_wrong(pair, images):
    with pytest.raises(InputError, match="at least two networks"):
        compare_networks({"a": pair["a"]}, images)
    with pytest.raises(InputError, match="measure.*linear_cka"):
        compare_networks(pair, images, ("cosine",))
    with pytest.raises(InputError, match="at least 4 images"):
        compare_networks(pair, images.subset(range(3)))
    with pytest.raises(InputError, match="no layer that fits conv, the model has: stages.0.1"):
        compare_networks(pair, images, view=View(layers=["conv"]))
    with pytest.raises(InputError, match="no layer fits 'conv'"):
        compare_networks({"a": pair["a"], "b": pair["a"]}, images, view=View(["stages.*", "conv"]))
    blind = {"a": pair["a"], "b": nn.Sequential(nn.Flatten(), nn.Linear(64, 2))}
    with pytest.raises(ModelError, match="no ReLU-family call"):
        compare_networks(blind, images)
