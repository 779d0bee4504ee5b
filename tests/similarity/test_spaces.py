"""Metric spaces against spherical geometry, and the measures whose arc cosines they are."""

import math

import numpy as np
import pytest
import torch

from advdetect.errors import InputError
from advdetect.similarity.cca import mean_cca, procrustes_similarity
from advdetect.similarity.cka import linear_cka, unbiased_linear_cka
from advdetect.similarity.spaces import AngularCKA, AngularShape

SPACES = {
    "u-centred": AngularCKA(),
    "double-centred": AngularCKA("double-centred"),
    "off-diagonal": AngularCKA("off-diagonal"),
    "shape": AngularShape(),
    "half whitened": AngularShape(whitening=0.5),
    "three components": AngularShape(dimensions=3),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def points(space, *seeds: int) -> list[torch.Tensor]:
    """Points that share a part, of different widths."""
    common = normal(20, 3)
    return [space.point(torch.cat([common, normal(20, 1 + s, seed=s)], 1)) for s in seeds]


def test_distances_are_arc_cosines() -> None:
    x, y = normal(30, 5, seed=1), normal(30, 4, seed=2)
    x[:, :2] += y[:, :2]
    for space, measure in (
        (AngularCKA(), unbiased_linear_cka),
        (AngularCKA("double-centred"), linear_cka),
        (AngularShape(), procrustes_similarity),
    ):
        found = space.distance(space.point(x), space.point(y))
        torch.testing.assert_close(found, measure(x, y).arccos())


def test_single_columns() -> None:
    x, y = normal(12, 1, seed=1), normal(12, 1, seed=2)
    r = torch.corrcoef(torch.cat([x, y], 1).T)[0, 1]
    shape, cka = AngularShape(), AngularCKA("double-centred")
    torch.testing.assert_close(shape.distance(shape.point(x), shape.point(y)), r.abs().arccos())
    torch.testing.assert_close(cka.distance(cka.point(x), cka.point(y)), (r * r).arccos())


def test_published_centrings() -> None:
    # The data of the demonstration of CKA; the middle one as the paper's library has it.
    source = np.random.RandomState(1337)
    x = source.randn(100, 10)
    y = torch.from_numpy(source.randn(100, 10) + x)
    for centring, published in (
        ("double-centred", 0.557613),
        ("off-diagonal", 0.513946),
        ("u-centred", 0.513456),
    ):
        space = AngularCKA(centring)
        found = space.distance(space.point(torch.from_numpy(x)), space.point(y)).cos().item()
        assert found == pytest.approx(published, abs=6e-7)


@every_space
def test_does_not_see_rotation_shift_and_scale(space) -> None:
    x = normal(20, 6, seed=1)
    turn = torch.linalg.qr(normal(6, 6, seed=2)).Q
    # By arc cosines this would be 1e-8 at best.
    assert space.distance(space.point(x), space.point(1e3 * x @ turn + 5)) < 1e-12


def test_does_see_a_linear_map_unless_whitened() -> None:
    x, linear = normal(20, 6, seed=1), normal(6, 6, seed=2)
    for name, space in SPACES.items():
        assert space.distance(space.point(x), space.point(x @ linear)) > 0.05, name
    white = AngularShape(whitening=1)
    a, b = white.point(x), white.point(x @ linear)
    assert white.distance(a, b) < 1e-10
    c = white.point(normal(20, 6, seed=3))
    assert white.distance(a, c).cos().item() == pytest.approx(mean_cca(x, normal(20, 6, seed=3)))


@every_space
def test_metric(space) -> None:
    for seed in range(0, 30, 3):
        a, b, c = points(space, seed, seed + 1, seed + 2)
        ab, bc, ac = space.distance(a, b), space.distance(b, c), space.distance(a, c)
        assert ab.item() == pytest.approx(space.distance(b, a).item())
        assert ab + bc >= ac
        assert space.distance(a, a) < 1e-12
    assert torch.linalg.vector_norm(a).item() == pytest.approx(1)


@every_space
@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_geodesic(space, t: float) -> None:
    a, b = points(space, 1, 2)
    whole, on_the_way = space.distance(a, b), space.geodesic(a, b, t)
    assert torch.linalg.vector_norm(on_the_way).item() == pytest.approx(1)
    assert space.distance(a, on_the_way).item() == pytest.approx((t * whole).item(), abs=1e-12)
    rest = space.distance(on_the_way, b).item()
    assert rest == pytest.approx(((1 - t) * whole).item(), abs=1e-12)
    if 0 < t < 1:
        assert space.angle(a, on_the_way, b).item() == pytest.approx(math.pi, abs=1e-6)
        assert space.angle(b, a, on_the_way).item() == pytest.approx(0, abs=1e-6)


@every_space
def test_exponential_undoes_logarithm(space) -> None:
    a, b = points(space, 1, 2)
    tangent = space.logarithm(a, b)
    assert torch.linalg.vector_norm(tangent).item() == pytest.approx(space.distance(a, b).item())
    assert space.distance(space.exponential(a, tangent), b) < 1e-12
    assert torch.linalg.vector_norm(space.logarithm(a, a)) < 1e-12


def test_spherical_law_of_cosines() -> None:
    space = AngularCKA()
    a, b, c = points(space, 1, 2, 3)
    at_a, ab, ac = space.angle(b, a, c), space.distance(a, b), space.distance(a, c)
    expected = ab.cos() * ac.cos() + ab.sin() * ac.sin() * at_a.cos()
    torch.testing.assert_close(space.distance(b, c).cos(), expected, rtol=0, atol=1e-14)


def test_the_space_is_curved_like_a_sphere() -> None:
    # Alexandrov: the way to the middle of the far side is longer than it would be in a plane.
    space = AngularCKA()
    a, b, c = points(space, 1, 2, 3)
    ab, bc, ac = (space.distance(*ends).item() for ends in ((a, b), (b, c), (a, c)))
    flat = math.sqrt(ab**2 / 2 + bc**2 / 2 - ac**2 / 4)
    assert space.distance(b, space.geodesic(a, c, 0.5)).item() > flat


@every_space
def test_projection_is_the_nearest_of_many(space) -> None:
    a, b, c = points(space, 1, 2, 3)
    found = space.project(c, a, b)
    tried = [space.distance(c, space.geodesic(a, b, i / 200)).item() for i in range(201)]
    assert found.distance <= min(tried) + 1e-9
    assert found.distance == pytest.approx(min(tried), abs=1e-4)
    assert found.share == pytest.approx(tried.index(min(tried)) / 200, abs=0.01)
    assert space.distance(found.point, space.geodesic(a, b, found.share)) < 1e-9


@every_space
def test_projection_of_a_point_on_the_way_is_itself(space) -> None:
    a, b = points(space, 1, 2)
    found = space.project(space.geodesic(a, b, 0.3), a, b)
    assert found.share == pytest.approx(0.3, abs=1e-6)
    assert found.distance == pytest.approx(0, abs=1e-6)


def test_projection_beyond_an_end_is_that_end() -> None:
    space = AngularCKA()
    a, b = points(space, 1, 2)
    whole = space.distance(a, b).item()
    assert space.project(space.geodesic(a, b, 1.5), a, b).share == 1
    assert space.project(space.geodesic(a, b, -0.5), a, b).share == 0
    # Further round than the point opposite to the middle, the end is nearer than the start.
    assert space.project(space.geodesic(a, b, 0.5 + 1.01 * math.pi / whole), a, b).share == 0
    assert space.project(space.geodesic(a, b, 0.5 + 0.99 * math.pi / whole), a, b).share == 1


@every_space
def test_gradient_of_distance(space) -> None:
    x, y = (normal(8, width, seed=width).requires_grad_() for width in (4, 5))
    assert torch.autograd.gradcheck(
        lambda x, y: space.distance(space.point(x), space.point(y)), (x, y)
    )


def test_many_features_take_no_more_room_than_inputs() -> None:
    assert AngularShape().point(normal(10, 500)).shape == (10, 9)


A, B = points(AngularCKA(), 1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AngularCKA("other"), "no centring named 'other', choose from: u-centred"),
        (lambda: AngularShape(whitening=1.5), "whitening must be between 0 and 1, got 1.5"),
        (lambda: AngularShape(dimensions=0), "dimensions must be at least 1, got 0"),
        (lambda: AngularCKA().point(normal(3, 2)), "at least 4 rows, got 3"),
        (lambda: AngularShape().point(normal(1, 2)), "at least 2 rows, got 1"),
        (lambda: AngularCKA().point(torch.ones(5, 2)), "no point of this space"),
        (lambda: AngularCKA().point(torch.ones(5, 2).long()), "got torch.int64"),
        (lambda: AngularCKA().distance(A, A[:5]), "of the same inputs, got 20 and 5"),
        (lambda: AngularCKA().logarithm(A, -A), "opposite points"),
        (lambda: AngularCKA().geodesic(A, -A, 0.5), "opposite points"),
        (lambda: AngularCKA().angle(A, A, B), "a way between equal points"),
        (lambda: AngularCKA().project(B, A, A), "needs two ends, got equal points"),
    ],
)
def test_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
