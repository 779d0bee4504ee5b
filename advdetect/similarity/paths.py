"""A network as a path: its layers, point by point, from the pixels towards the target."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
import torch
from torch import Tensor

from advdetect.errors import InputError
from advdetect.similarity.graph_operators import check_weights
from advdetect.similarity.spaces import SAME, AngularCKA, AngularShape, Projection, Sphere

__all__ = [
    "AngularCKA",
    "AngularShape",
    "Path",
    "Projection",
    "Sphere",
    "distances_between",
    "planar_embedding",
    "trace",
]


@final
@dataclass(frozen=True)
class Path:
    """Statistics of a network's path, angles and distances in radians.

    Args:
        layers: Names of the points, in order.
        step_lengths: From each layer to the next, one less than layers.
        length: Sum of the steps.
        straightness: Distance from the first layer to the last over the length: 1 is a
            geodesic, 0 a way back to its start.
        turning_angles: At each layer but the first and last, pi where the path goes
            straight on, 0 where it turns back; pi, too, beside a step of length 0.
        target_distances: From each layer to the target.
        target_shares: Where each layer falls on the geodesic from the first layer to the
            target, from 0 to 1.
        target_offsets: How far off that geodesic each layer is.
    """

    layers: tuple[str, ...]
    step_lengths: tuple[float, ...]
    length: float
    straightness: float
    turning_angles: tuple[float, ...]
    target_distances: tuple[float, ...]
    target_shares: tuple[float, ...]
    target_offsets: tuple[float, ...]


def trace(
    representations: Mapping[str, Tensor], target: Tensor, *, space: Sphere | None = None
) -> Path:
    """Measure the path that a network's layers take towards a target.

    Args:
        representations: ``(n, p)`` activations by layer, in order, the input first; at
            least two.
        target: ``(n, q)`` where the path should end, for example one-hot labels.
        space: Where to measure; by default ``AngularCKA()``.

    Returns:
        The path's statistics. Takes, per layer, a few operations on points: O(n^2) numbers
        each in ``AngularCKA``.

    Raises:
        InputError: fewer than two layers, rows that do not pair up, a constant layer, or a
            first layer that is already at the target.

    Source:
        After Lange et al. 2022, arXiv:2206.10999; the definitions are this project's own.
    """
    space = space or AngularCKA()
    if len(representations) < 2:
        raise InputError(f"a path needs at least 2 layers, got {len(representations)}")
    points = [space.point(x) for x in representations.values()]
    goal = space.point(target)
    steps = [space.distance(a, b).item() for a, b in pairwise(points)]
    turns = [
        space.angle(*points[i : i + 3]).item() if min(steps[i : i + 2]) > SAME else math.pi
        for i in range(len(points) - 2)
    ]
    projections = [space.project(point, points[0], goal) for point in points]
    length = sum(steps)
    return Path(
        layers=tuple(representations),
        step_lengths=tuple(steps),
        length=length,
        straightness=space.distance(points[0], points[-1]).item() / length if length else 1.0,
        turning_angles=tuple(turns),
        target_distances=tuple(space.distance(point, goal).item() for point in points),
        target_shares=tuple(projection.share for projection in projections),
        target_offsets=tuple(projection.distance for projection in projections),
    )


def distances_between(points: Sequence[Tensor], space: Sphere) -> Tensor:
    """Distances of all pairs of points, ``(m, m)``, of one path or of several networks'."""
    between = torch.zeros(len(points), len(points), dtype=torch.float64)
    for i, a in enumerate(points):
        for j, b in enumerate(points[:i]):
            between[i, j] = between[j, i] = space.distance(a, b).item()
    return between


def planar_embedding(distances: Tensor) -> Tensor:
    """Draw points in the plane so that their distances come out as well as they can.

    Metric multidimensional scaling (SMACOF), from the start that classical scaling gives:
    distances that fit into a plane are met exactly, and no seed is needed.

    Args:
        distances: ``(m, m)`` symmetric distances, of at least 2 points.

    Returns:
        ``(m, 2)`` float64 places around the origin, widest along the first axis.

    Raises:
        InputError: distances that are not square, finite and symmetric, or negative.

    Source:
        Borg and Groenen 2005, Modern Multidimensional Scaling, chapter 8.
    """
    from sklearn.manifold import smacof

    check_weights(distances)
    if len(distances) < 2 or distances.min() < 0:
        raise InputError("expected distances of at least 2 points, none of them negative")
    exact = distances.detach().double().cpu().numpy()
    if not exact.any():
        return torch.zeros(len(exact), 2, dtype=torch.float64)
    places, _ = smacof(
        exact, init=_principal(exact), n_components=2, n_init=1, max_iter=1000, eps=1e-9
    )
    turned, lengths, _ = np.linalg.svd(places - places.mean(0), full_matrices=False)
    return torch.from_numpy(turned * lengths)


def _principal(
    distances: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Classical scaling: the two widest directions of the centred squared distances."""
    squared = -(distances**2) / 2
    mean = squared.mean(0)
    values, vectors = np.linalg.eigh(squared - mean - mean[:, None] + mean.mean())
    return vectors[:, :-3:-1] * np.sqrt(np.clip(values[:-3:-1], 0, None))
