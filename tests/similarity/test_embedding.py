"""Places in the plane, known in closed form."""

import math

import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity.embedding import spectral_embedding
from advdetect.similarity.spectral import fiedler_partition


def ring(n):
    """Weights of a cycle."""
    weights = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        weights[i, (i + 1) % n] = weights[(i + 1) % n, i] = 1
    return weights


def some_weights(n=12):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    return torch.exp(-4 * torch.cdist(points, points) ** 2)


def test_a_ring_is_drawn_as_a_circle():
    embedding = spectral_embedding(ring(8))
    expected = 1 - math.cos(2 * math.pi / 8)
    assert embedding.eigenvalues.tolist() == pytest.approx([expected, expected])
    radius = embedding.coordinates.norm(dim=1)
    assert torch.allclose(radius, radius[:1].expand(8))
    steps = (embedding.coordinates - embedding.coordinates.roll(1, 0)).norm(dim=1)
    assert torch.allclose(steps, steps[:1].expand(8))


def test_the_first_axis_cuts_as_the_fiedler_partition_does():
    weights = some_weights()
    side = fiedler_partition(weights).side
    first = spectral_embedding(weights).coordinates[:, 0] > 0
    assert torch.equal(first, side) or torch.equal(~first, side)


def test_a_copy_of_an_input_lies_where_the_input_lies():
    weights = some_weights()
    embedding = spectral_embedding(weights)
    edges = weights - torch.diag(weights.diagonal())
    assert torch.allclose(embedding.place(edges), embedding.coordinates)


def test_twice_the_weight_is_the_same_place():
    embedding = spectral_embedding(some_weights())
    weights = torch.rand(3, 12, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(embedding.place(2 * weights), embedding.place(weights))


@pytest.mark.parametrize(
    ("weights", "dimensions", "message"),
    [
        (torch.ones(3, 4), 2, r"expected \(n, n\) similarities"),
        (some_weights(4), 4, "expected 1 to 3 dimensions, got 4"),
        (some_weights(4), 0, "expected 1 to 3 dimensions, got 0"),
        (torch.eye(4), 2, "an input without any neighbour has no place"),
    ],
)
def test_graphs_that_cannot_be_drawn(weights, dimensions, message):
    with pytest.raises(InputError, match=message):
        spectral_embedding(weights, dimensions)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(2, 5), r"expected weights \(m, 4\), got \(2, 5\)"),
        (torch.ones(4), r"expected weights \(m, 4\), got \(4,\)"),
        (-torch.ones(1, 4), "not negative"),
        (torch.zeros(1, 4), "one above 0 in each row"),
    ],
)
def test_inputs_that_cannot_be_placed(weights, message):
    with pytest.raises(InputError, match=message):
        spectral_embedding(some_weights(4), 1).place(weights)


def test_a_graph_without_structure_places_nobody():
    # All alike: every eigenvalue but the first is n / (n - 1), above 1.
    embedding = spectral_embedding(torch.ones(5, 5, dtype=torch.float64))
    with pytest.raises(InputError, match="no smooth eigenvector"):
        embedding.place(torch.ones(1, 5))
