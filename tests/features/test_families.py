"""Families of features against the same numbers worked out directly."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advdetect.errors import InputError, ModelError
from advdetect.features import FEATURES, FeatureExtractor
from advdetect.features.base import CANDIDATES, Observation, block_ends, class_contrast
from advdetect.features.sensitivity import ALIGNMENT, REMOVED
from advdetect.features.views import LOOKS, VIEWS
from advdetect.similarity.bits import BitCodes, hamming_similarity

CLASSES, LAYERS, AGAIN = 3, ("a", "b", "c"), ("mirrored", "smoothed")


def observation(n, seed, sharpness=None):
    generator = torch.Generator().manual_seed(seed)

    def near(logits):
        return logits + 0.1 * torch.randn(n, CLASSES, generator=generator)

    def layers():
        return {name: torch.randn(n, 40, generator=generator) for name in LAYERS}

    logits = torch.randn(n, CLASSES, generator=generator)
    seen = layers()
    means = {name: torch.rand(n, 12, generator=generator) for name in LAYERS}
    views = {name: near(logits) for name in VIEWS}
    again = tuple(
        Observation(
            near(logits),
            layers(),
            sharpness,
            alignment=torch.randn(n, len(REMOVED), generator=generator)
            if LOOKS[look].removes_detail
            else None,
        )
        for look in AGAIN
    )
    alignment = torch.randn(n, len(ALIGNMENT), generator=generator)
    return Observation(logits, seen, sharpness, means, views, again, alignment)


def part_of(whole, rows):
    """Some of the inputs of an observation."""
    parts = ({k: t[rows] for k, t in p.items()} for p in (whole.layers, whole.means, whole.views))
    layers, means, views = parts
    again = tuple(part_of(seen, rows) for seen in whole.again)
    alignment = whole.alignment
    if alignment is not None:
        alignment = alignment[rows]
    return Observation(whole.logits[rows], layers, None, means, views, again, alignment)


def sharpened(whole, sharpness):
    """The same with soft bits."""
    again = tuple(replace(seen, sharpness=sharpness) for seen in whole.again)
    return replace(whole, sharpness=sharpness, again=again)


def columns_of(family, reference, new):
    feature = FEATURES[family](CLASSES, LAYERS, AGAIN).fit(reference)
    rows = feature.rows(new)
    assert rows.shape == (len(new.logits), len(feature.columns))
    assert len(set(feature.columns)) == len(feature.columns)
    return dict(zip(feature.columns, rows.T, strict=True))


def test_contrast_by_hand():
    # Columns are candidates: the predicted class, the runner-up, the third.
    similarity = torch.tensor([[0.9, 0.5, 0.7], [0.2, 0.1, 0.6]])
    expected = torch.tensor([[0.9, 0.7, 0.2, 0.4], [0.2, 0.6, -0.4, 0.1]])
    torch.testing.assert_close(class_contrast(similarity), expected)


def test_candidates_are_the_likeliest_classes_in_order():
    few = Observation(torch.tensor([[3.0, 1.0, 2.0]]), {})
    assert few.candidates.tolist() == [[0, 2, 1]]
    assert (few.predicted.item(), few.runner_up.item()) == (0, 2)
    many = Observation(torch.arange(40.0).flip(0)[None], {})
    assert many.candidates.tolist() == [list(range(CANDIDATES))]
    classes, places = many.searched
    assert classes is not None
    assert classes[places].equal(many.candidates)


def test_bits_hold_the_mean_hamming_similarity_to_the_own_class():
    reference, new = observation(60, 0), observation(7, 1)
    found = columns_of("bits", reference, new)["b", "Hamming similarity, own"]
    pairs = hamming_similarity(
        BitCodes.pack(new.layers["b"] > 0), BitCodes.pack(reference.layers["b"] > 0)
    )
    for i, c in enumerate(new.predicted):
        assert found[i].item() == pytest.approx(pairs[i, reference.predicted == c].mean().item())


def test_neighbors_are_those_of_a_full_search():
    reference, new = observation(60, 0), observation(7, 1)
    found = columns_of("neighbors", reference, new)["c", "nearest of runner-up class"]
    pairs = hamming_similarity(
        BitCodes.pack(new.layers["c"] > 0), BitCodes.pack(reference.layers["c"] > 0)
    )
    for i, c in enumerate(new.runner_up):
        nearest = pairs[i, reference.predicted == c].topk(5).values.mean()
        assert found[i].item() == pytest.approx(nearest.item())


def test_graph_edges_are_cosines_of_outputs():
    reference, new = observation(60, 0), observation(7, 1)
    found = columns_of("graph", reference, new)["a", "edges, own"]
    old, fresh = (o.layers["a"][:, ::2].relu() for o in (reference, new))
    for i, c in enumerate(new.predicted):
        landmarks = old[reference.predicted == c][:10]
        edges = F.cosine_similarity(fresh[i : i + 1], landmarks)
        assert found[i].item() == pytest.approx(edges.topk(5).values.mean().item(), abs=1e-6)


@pytest.mark.parametrize("family", FEATURES)
def test_a_row_depends_on_its_own_input_alone(family):
    reference, new = observation(60, 0), observation(7, 1)
    feature = FEATURES[family](CLASSES, LAYERS, AGAIN).fit(reference)
    together = feature.rows(new)
    for i in range(7):
        alone = feature.rows(part_of(new, slice(i, i + 1)))
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FEATURES)
def test_soft_rows_come_near_the_true_ones(family):
    reference, new = observation(60, 0), observation(7, 1)
    feature = FEATURES[family](CLASSES, LAYERS, AGAIN).fit(reference)
    soft = feature.rows(sharpened(new, 1e6))
    torch.testing.assert_close(soft, feature.rows(new), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FEATURES)
def test_a_class_that_is_never_predicted_gives_finite_rows(family):
    reference, new = observation(40, 0), observation(9, 1)
    rare = replace(reference, logits=reference.logits - torch.tensor([0.0, 0.0, 100.0]))
    feature = FEATURES[family](CLASSES, LAYERS, AGAIN).fit(rare)
    assert torch.isfinite(feature.rows(new)).all()


def test_ends_of_blocks_count_from_the_last_layer():
    assert block_ends(("a", "b", "c")) == ("a", "c")
    assert block_ends(("a", "b", "c", "d")) == ("b", "d")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 30), nn.ReLU(), nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 3)
    ).eval()


def test_an_extractor_keeps_its_units_and_its_rows(model):
    images = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    extractor = FeatureExtractor.fit(model, images, units=12, seed=3)
    assert [len(index) for index in extractor.units.values()] == [12, 8]
    again = FeatureExtractor.load(extractor.config(), extractor.tensors())
    rows = extractor.rows(extractor.observe(model, images[:5]))
    torch.testing.assert_close(again.rows(again.observe(model, images[:5])), rows)
    assert rows.shape == (5, len(extractor.columns))
    other = FeatureExtractor.fit(model, images, units=12, seed=4)
    assert not torch.equal(other.units["2"], extractor.units["2"])


def test_soft_rows_have_gradients_to_the_images(model):
    images = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    extractor = FeatureExtractor.fit(model, images)
    new = images[:4].clone().requires_grad_()
    extractor.rows(extractor.observe(model, new, sharpness=4.0)).sum().backward()
    assert torch.isfinite(new.grad).all()
    assert new.grad.abs().sum() > 0


def test_says_what_is_wrong(model):
    images = torch.rand(10, 1, 4, 4)
    with pytest.raises(InputError, match="no feature named 'smell', choose from: bits"):
        FeatureExtractor.fit(model, images, families=["smell"])
    with pytest.raises(ModelError, match="has no ReLU-family call"):
        FeatureExtractor.fit(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), images)
