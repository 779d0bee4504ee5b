"""The same edges, between means of channels."""

from dataclasses import replace

import torch

from advdetect.features import FeatureExtractor
from advdetect.features.graph_edges import GraphFeatures
from advdetect.features.graph_pooled import PooledGraphFeatures


def test_equal_to_the_graph_of_vectors_that_hold_the_means(make_observation):
    reference, new = (
        make_observation([0, 1, 2] * n, seed=n, units=(8, 24, 8, 32)) for n in (12, 2)
    )
    means = [{name: z[:, ::2].relu() for name, z in one.layers.items()} for one in (reference, new)]
    layers = tuple(reference.layers)
    pooled = PooledGraphFeatures(3, layers).fit(replace(reference, means=means[0]))
    plain = GraphFeatures(3, layers).fit(reference)
    assert pooled.columns == plain.columns
    assert torch.equal(pooled.rows(replace(new, means=means[1])), plain.rows(new))


def test_means_are_of_whole_channels(small, digits):
    images = digits["reference"].images
    extractor = FeatureExtractor.fit(small.module, images, families=("graph_pooled",), units=3)
    observation = extractor.observe(small.module, images[:3])
    widths = {name: means.shape[1] for name, means in observation.means.items()}
    kept = {
        key: value.shape[1]
        for key, value in extractor.features["graph_pooled"].state.items()
        if key.startswith("outputs.")
    }
    assert kept == {key: widths[key.removeprefix("outputs.")] for key in kept}
    assert kept
    assert max(kept.values()) > 3  # not of the chosen units
