"""Paths along known arcs, and drawings of known places."""

import math

import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity.paths import (
    AngularCKA,
    AngularShape,
    distances_between,
    planar_embedding,
    trace,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def arc(*angles: float) -> dict[str, torch.Tensor]:
    """Single columns at these angles on a great circle of shape space."""
    x = normal(9, 2)
    basis = torch.linalg.qr(x - x.mean(0)).Q
    return {
        f"layer{i}": basis @ torch.tensor([[math.cos(t)], [math.sin(t)]], dtype=torch.float64)
        for i, t in enumerate(angles)
    }


def test_equal_steps_along_an_arc() -> None:
    layers = arc(0, 0.2, 0.4, 0.6)
    path = trace(layers, arc(0.8)["layer0"], space=AngularShape())
    assert path.layers == ("layer0", "layer1", "layer2", "layer3")
    assert path.step_lengths == pytest.approx([0.2, 0.2, 0.2])
    assert path.length == pytest.approx(0.6)
    assert path.straightness == pytest.approx(1)
    assert path.turning_angles == pytest.approx([math.pi, math.pi], abs=1e-6)
    assert path.target_distances == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert path.target_shares == pytest.approx([0, 0.25, 0.5, 0.75])
    assert path.target_offsets == pytest.approx([0, 0, 0, 0], abs=1e-7)


def test_a_path_that_turns_back() -> None:
    path = trace(arc(0, 0.5, 0.2), arc(0.8)["layer0"], space=AngularShape())
    assert path.length == pytest.approx(0.8)
    assert path.straightness == pytest.approx(0.25)
    assert path.turning_angles == pytest.approx([0], abs=1e-6)


def test_a_layer_that_does_not_move() -> None:
    path = trace(arc(0, 0.3, 0.3, 0.6), arc(0.8)["layer0"], space=AngularShape())
    assert path.step_lengths == pytest.approx([0.3, 0, 0.3], abs=1e-9)
    assert path.turning_angles == pytest.approx([math.pi, math.pi])
    still = trace(arc(0.3, 0.3), arc(0.8)["layer0"], space=AngularShape())
    assert still.length == pytest.approx(0, abs=1e-9)


def test_the_way_from_inputs_to_labels() -> None:
    labels = torch.eye(4).double()[torch.arange(40) % 4]
    x = torch.cat([labels, normal(40, 6)], 1)
    layers = {"input": x, "half": x * torch.tensor([2.0] * 4 + [1.0] * 6), "end": labels}
    path = trace(layers, labels.float())
    assert path.target_distances[0] > path.target_distances[1] > path.target_distances[2]
    assert path.target_distances[2] == pytest.approx(0, abs=1e-6)
    assert path.target_shares == pytest.approx(sorted(path.target_shares))
    assert path.target_shares[0] == pytest.approx(0)
    assert path.target_shares[2] == pytest.approx(1)


def test_distances_of_all_pairs() -> None:
    space = AngularShape()
    points = [space.point(x) for x in arc(0, 0.2, 0.7).values()]
    expected = torch.tensor([[0, 0.2, 0.7], [0.2, 0, 0.5], [0.7, 0.5, 0]]).double()
    torch.testing.assert_close(distances_between(points, space), expected)


def test_places_in_the_plane_are_found_again() -> None:
    for places in (normal(3, 2), normal(12, 2)):
        expected = torch.cdist(places, places)
        drawn = planar_embedding(expected)
        torch.testing.assert_close(torch.cdist(drawn, drawn), expected, rtol=0, atol=1e-3)
        torch.testing.assert_close(drawn.mean(0), torch.zeros(2).double(), rtol=0, atol=1e-9)
        assert drawn[:, 0].norm() >= drawn[:, 1].norm()


def test_two_points_and_one_place() -> None:
    apart = torch.tensor([[0.0, 2], [2, 0]])
    assert torch.pdist(planar_embedding(apart)).item() == pytest.approx(2)
    assert planar_embedding(torch.zeros(3, 3)).tolist() == 3 * [[0, 0]]


def test_stress_falls_below_that_of_classical_scaling() -> None:
    distances = torch.cdist(normal(10, 5), normal(10, 5)) + 0
    distances = (distances + distances.T) / 2
    distances.fill_diagonal_(0)
    drawn = planar_embedding(distances)
    centre = torch.eye(10).double() - 0.1
    values, vectors = torch.linalg.eigh(-centre @ distances.square() @ centre / 2)
    classical = vectors[:, -2:] * values[-2:].sqrt()
    stress = [
        ((torch.pdist(p) - distances[*torch.triu_indices(10, 10, 1)]) ** 2).sum()
        for p in (drawn, classical)
    ]
    assert stress[0] < stress[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trace({"one": normal(9, 2)}, normal(9, 2)), "at least 2 layers, got 1"),
        (
            lambda: trace({"a": normal(9, 2), "b": normal(8, 2)}, normal(9, 2)),
            "of the same inputs, got 9 and 8",
        ),
        (lambda: trace({"a": normal(9, 2), "b": torch.ones(9, 2)}, normal(9, 2)), "no point"),
        (
            lambda: trace({"a": normal(9, 2), "b": normal(9, 3)}, normal(9, 2)),
            "two ends, got equal points",
        ),
        (lambda: planar_embedding(torch.zeros(1, 1)), "at least 2 points"),
        (lambda: planar_embedding(-torch.ones(3, 3)), "none of them negative"),
        (lambda: planar_embedding(torch.ones(3, 4)), r"got \(3, 4\)"),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_default_space_is_unbiased() -> None:
    layers = {"a": normal(9, 2, seed=1), "b": normal(9, 2, seed=2)}
    assert trace(layers, normal(9, 1)) == trace(layers, normal(9, 1), space=AngularCKA())
