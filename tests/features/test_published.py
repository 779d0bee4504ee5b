"""Features of published detectors against the same numbers by another route."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors
from torch import nn

from advdetect.features import FEATURES, FeatureExtractor
from advdetect.features.base import Observation
from advdetect.features.views import fewer_levels, median

LAYERS = ("first", "last")


def observed(n, seed, **changes):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 3, generator=generator)
    means = {
        name: torch.rand(n, 5, generator=generator) + logits.argmax(1)[:, None] for name in LAYERS
    }
    layers = {name: torch.randn(n, 8, generator=generator) for name in LAYERS}
    return Observation(logits, layers, means=means, **changes)


def rows(family, reference, new):
    return FEATURES[family](3, LAYERS).fit(reference).rows(new).double().numpy()


@pytest.fixture
def reference():
    return observed(300, 0)


@pytest.fixture
def new():
    return observed(20, 1)


def test_softmax_is_the_log_odds_of_the_maximum_probability(reference, new):
    highest = new.logits.double().softmax(1).amax(1)
    expected = torch.log(1 - highest)[:, None].numpy()
    np.testing.assert_allclose(rows("softmax", reference, new), expected, rtol=1e-4)


def test_margin_by_hand(reference):
    new = Observation(torch.tensor([[1.0, 4.0, 2.5], [3.0, 3.0, 0.0]]), {})
    assert rows("margin", reference, new)[:, 0].tolist() == [-1.5, 0.0]


def test_energy_by_hand(reference):
    new = Observation(torch.log(torch.tensor([[1.0, 2.0, 5.0]])), {})
    assert rows("energy", reference, new)[0, 0] == pytest.approx(-np.log(8))


def test_squeezing_counts_what_moves_either_way(reference):
    own = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    moved = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    new = Observation(own, {}, views={"fewer_levels": own, "median": moved})
    np.testing.assert_allclose(rows("squeezing", reference, new), [[0.0, 0.4]], atol=1e-6)


def test_mahalanobis_is_that_of_scikit_learn(reference, new):
    found = rows("mahalanobis", reference, new)
    for column, layer in enumerate(LAYERS):
        known, classes = reference.means[layer].double().numpy(), reference.predicted.numpy()
        centres = np.stack([known[classes == c].mean(0) for c in range(3)])
        model = EmpiricalCovariance(assume_centered=True).fit(known - centres[classes])
        fresh = new.means[layer].double().numpy()
        distances = np.stack([model.mahalanobis(fresh - centre) for centre in centres])
        # The ridge takes a thousandth of the mean variance off.
        np.testing.assert_allclose(found[:, column], distances.min(0), rtol=0.01)


def test_intrinsic_dimension_of_a_line_and_of_a_plane(reference):
    generator = torch.Generator().manual_seed(0)
    for dimension in (1, 2, 4):
        space = torch.zeros(20_000, 5)
        space[:, :dimension] = torch.rand(20_000, dimension, generator=generator)
        known = Observation(torch.zeros(500, 3), {}, means=dict.fromkeys(LAYERS, space[:500]))
        inside = 0.5 + 0.2 * (space[500:900] - 0.5)
        inside[:, dimension:] = 0
        fresh = Observation(torch.zeros(400, 3), {}, means=dict.fromkeys(LAYERS, inside))
        found = rows("intrinsic_dimension", known, fresh)
        assert np.median(found) == pytest.approx(dimension, rel=0.15)


def test_deep_neighbors_are_those_of_scikit_learn(reference, new):
    found = rows("deep_knn", reference, new)
    for column, layer in enumerate(LAYERS):
        search = NearestNeighbors(n_neighbors=50, metric="cosine")
        nearest = search.fit(reference.means[layer].numpy()).kneighbors(
            new.means[layer].numpy(), return_distance=False
        )
        other = reference.predicted.numpy()[nearest] != new.predicted.numpy()[:, None]
        np.testing.assert_allclose(found[:, column], other.mean(1), atol=0.021)  # ties


def test_the_virtual_logit_is_as_large_as_the_greatest_on_clean_inputs(reference):
    found = rows("virtual_logit", reference, reference)[:, 0]
    virtual = found + reference.logits.double().logsumexp(1).numpy()
    assert (virtual >= 0).all()
    assert virtual.mean() == pytest.approx(
        reference.logits.amax(1).double().mean().item(), rel=1e-4
    )


def test_the_virtual_logit_sees_what_leaves_the_usual_plane():
    generator = torch.Generator().manual_seed(0)
    plane = torch.zeros(100, 4)
    plane[:, :2] = torch.randn(100, 2, generator=generator)
    plane[:, 2:] = 0.01 * torch.randn(100, 2, generator=generator)
    known = Observation(torch.ones(100, 3), {}, means={"last": plane})
    feature = FEATURES["virtual_logit"](3, ("last",)).fit(known)
    points = torch.tensor([[3.0, 0, 0, 0], [0, 0, 3, 0]])
    inside, outside = feature.rows(Observation(torch.ones(2, 3), {}, means={"last": points}))[:, 0]
    assert outside > inside + 100


def test_the_median_of_two_by_two_by_hand():
    image = torch.tensor([[0.0, 0.8, 0.2], [0.4, 0.6, 0.9]]).view(1, 1, 2, 3)
    # Each pixel with its left, upper and upper left neighbours, the third smallest of the four;
    # beyond the edge the picture is mirrored.
    expected = torch.empty(2, 3)
    mirrored = torch.tensor([[0.6, 0.4, 0.6, 0.9], [0.8, 0.0, 0.8, 0.2], [0.6, 0.4, 0.6, 0.9]])
    for y in range(2):
        for x in range(3):
            window = mirrored[y : y + 2, x : x + 2].flatten().sort().values
            expected[y, x] = window[2]
    torch.testing.assert_close(median(image)[0, 0], expected)


def test_fewer_levels_round_and_let_gradients_pass():
    image = torch.tensor([0.0, 0.07, 0.08, 0.5, 1.0]).view(1, 1, 1, 5).requires_grad_()
    found = fewer_levels(image)
    torch.testing.assert_close(found.flatten(), torch.tensor([0, 0, 1, 4, 7]) / 7)
    found.sum().backward()
    assert (image.grad == 1).all()


def test_an_extractor_takes_means_and_views_where_asked_for():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6), nn.ReLU(), nn.Linear(6, 3)
    ).eval()
    images = torch.rand(30, 1, 8, 8)
    extractor = FeatureExtractor.fit(model, images, families=["mahalanobis", "squeezing"], units=9)
    seen = extractor.observe(model, images)
    with torch.no_grad():
        outputs = model[1](model[0](images))
        torch.testing.assert_close(seen.means["1"], outputs.mean((2, 3)))
        torch.testing.assert_close(seen.means["4"], model[4](model[3](outputs.flatten(1))))
        torch.testing.assert_close(seen.views["median"], model(median(images)))
    assert [z.shape for z in seen.layers.values()] == [(30, 9), (30, 6)]
    plain = FeatureExtractor.fit(model, images, units=9).observe(model, images)
    assert plain.means == plain.views == {}
    for name, z in plain.layers.items():
        assert torch.equal(z, seen.layers[name])
