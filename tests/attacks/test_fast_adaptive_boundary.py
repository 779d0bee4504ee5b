"""Moves onto a plane against other solvers, and the boundary of models that know their own."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize_scalar
from torch import nn

from advdetect.attacks.fast_adaptive_boundary import FastAdaptiveBoundary, onto_plane
from advdetect.attacks.searching import Hold

NORMS = ("linf", "l2")


def pictures(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(n, 1, 3, 4, generator=generator, dtype=torch.float64)
    pixels[:, :, 0] = 0  # an edge of the cube
    normal = torch.randn(n, 1, 3, 4, generator=generator, dtype=torch.float64)
    normal[:, :, 1, 1] = 0
    return pixels, normal


def gains(normal, change):
    return (normal * change).flatten(1).sum(1)


def test_the_shortest_move_in_the_open_is_along_the_normal():
    pixels = torch.full((1, 1, 1, 2), 0.5)
    normal = torch.tensor([[[[3.0, -4.0]]]])
    rise = torch.tensor([0.5])
    torch.testing.assert_close(
        onto_plane(pixels, normal, rise, "l2"), torch.tensor([[[[0.06, -0.08]]]])
    )
    torch.testing.assert_close(
        onto_plane(pixels, normal, rise, "linf"), torch.tensor([[[[0.5 / 7, -0.5 / 7]]]])
    )


def test_what_one_pixel_cannot_do_the_others_do():
    # The first pixel has .1 left: it gives .1, the second the other .4.
    pixels = torch.tensor([[[[0.9, 0.5]]]])
    normal = torch.ones(1, 1, 1, 2)
    for norm in NORMS:
        found = onto_plane(pixels, normal, torch.tensor([0.5]), norm)
        torch.testing.assert_close(found, torch.tensor([[[[0.1, 0.4]]]]))


@pytest.mark.parametrize("rise", [0.3, -0.3, 1.0])
def test_linf_moves_are_those_of_linear_programming(rise):
    pixels, normal = pictures()
    found = onto_plane(pixels, normal, torch.full((6,), rise, dtype=torch.float64), "linf")
    np.testing.assert_allclose(gains(normal, found), rise, atol=1e-9)
    for x, w, change in zip(pixels.flatten(1), normal.flatten(1), found.flatten(1), strict=True):
        d = len(x)
        # Smallest t with -t <= change <= t, 0 <= x + change <= 1 and the rise.
        solved = linprog(
            np.r_[np.zeros(d), 1],
            A_ub=np.block([[np.eye(d), -np.ones((d, 1))], [-np.eye(d), -np.ones((d, 1))]]),
            b_ub=np.zeros(2 * d),
            A_eq=np.r_[w, 0][None],
            b_eq=[rise],
            bounds=[*zip(-x.numpy(), 1 - x.numpy(), strict=True), (0, None)],
        )
        assert change.abs().max().item() == pytest.approx(solved.fun, abs=1e-7)


@pytest.mark.parametrize("rise", [0.3, -0.3, 1.0])
def test_l2_moves_are_those_of_the_dual(rise):
    pixels, normal = pictures()
    found = onto_plane(pixels, normal, torch.full((6,), rise, dtype=torch.float64), "l2")
    np.testing.assert_allclose(gains(normal, found), rise, atol=1e-9)
    for x, w, change in zip(
        pixels.flatten(1).numpy(), normal.flatten(1).numpy(), found.flatten(1), strict=True
    ):

        def dual(length, x=x, w=w):
            best = np.clip(length * w, -x, 1 - x)  # least of |change|^2 / 2 - length * <w, change>
            return -(best @ best / 2 - length * (w @ best - rise))

        least = -minimize_scalar(dual, bounds=(-50, 50), method="bounded").fun
        assert (change @ change).item() / 2 == pytest.approx(least, abs=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_where_no_move_is_enough_it_goes_as_far_as_it_can(norm):
    pixels = torch.tensor([[[[0.0, 0.25, 1.0]]]])
    normal = torch.tensor([[[[1.0, -2.0, 1.0]]]])
    found = onto_plane(pixels, normal, torch.tensor([100.0]), norm)
    torch.testing.assert_close(found, torch.tensor([[[[1.0, -0.25, 0.0]]]]))


@pytest.mark.parametrize("norm", NORMS)
def test_a_function_without_slope_moves_nothing(norm):
    pixels = torch.rand(2, 1, 2, 2)
    found = onto_plane(pixels, torch.zeros(2, 1, 2, 2), torch.ones(2), norm)
    assert torch.equal(found, torch.zeros(2, 1, 2, 2))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("share", [1.01, 0.99])
def test_finds_the_nearest_point_of_a_plane_within_one_percent(norm, share, known):
    for row, distance in enumerate(known.distance[norm].tolist()):
        one = slice(row, row + 1)
        hold = Hold(known.model, known.images[one], known.labels[one], share * distance)
        with torch.no_grad():
            FastAdaptiveBoundary(norm).search(hold)
        assert len(hold.rows) == (share < 1)


class Threshold(nn.Module):
    """Class 1 once the first pixel is bright; no other matters, and below hardly it does."""

    def forward(self, images):
        bright = torch.relu(images.flatten(1)[:, 0] - 0.5)
        faint = 1e-3 * images.flatten(1)[:, 0]
        return torch.stack([torch.full_like(bright, 0.2), bright + faint], 1)


def test_goes_beyond_its_budget_and_comes_back():
    # The linear model at the image says that the boundary is outside the cube; the way there leads
    # past the bend, from where it is seen.
    images = torch.zeros(1, 1, 2, 2)
    hold = Hold(Threshold(), images, torch.tensor([0]), 0.72)
    with torch.no_grad():
        FastAdaptiveBoundary("l2").search(hold)
    assert not len(hold.rows)
    assert 0.69 < hold.found[0, 0, 0, 0] <= 0.72


def test_aims_at_the_likeliest_classes_first(small, digits):
    some = digits["evaluation"].subset(range(20))
    logits = small.module(some.images)
    seen = []

    class Watched(FastAdaptiveBoundary):
        def _approach(self, hold, rows, targets):
            seen.append((rows, targets))

    hold = Hold(small.module, some.images, logits.argmax(1), 0.1)
    with torch.no_grad():
        Watched("l2", targets=3, lanes=40).search(hold)
    rows, targets = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert len(rows) == 60
    order = logits.argsort(1, descending=True)
    for row in range(20):
        assert targets[rows == row].tolist() == order[row, 1:4].tolist()
