"""Graphs of rows, joined where they are alike."""

from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax

from advdetect.detectors.base import Rows

CLIP = 3.0  # standard deviations: an outlier in one direction is no group by itself


@final
class MainDirections:
    """The directions in which rows vary most, of coordinates clipped to 3.

    Where clean rows are standard normal, these are the directions in which a mixture of clean
    and attacked rows differs from clean ones.

    Args:
        centre: ``(d,)`` mean.
        basis: ``(d, k)`` orthonormal columns.
    """

    def __init__(self, centre: Rows, basis: Rows) -> None:
        self.centre = centre
        self.basis = basis

    @classmethod
    def of(cls, whitened: Rows, count: int) -> "MainDirections":
        """Find at most ``count`` directions of ``(n, d)`` rows."""
        clipped = np.clip(whitened, -CLIP, CLIP)
        centre = clipped.mean(0)
        _, _, directions = np.linalg.svd(clipped - centre, full_matrices=False)
        return cls(centre, directions[:count].T)

    def __call__(self, whitened: Rows) -> Rows:
        """Coordinates ``(n, k)`` along the directions."""
        return (np.clip(whitened, -CLIP, CLIP) - self.centre) @ self.basis


def self_tuned_weights(points: Rows, neighbors: int) -> tuple[Rows, Rows]:
    """Weights between points, with the distance to a near neighbour as the unit of distance.

    Each point brings its own unit, so that a dense group and a thin one are both connected.

    Args:
        points: ``(n, k)``.
        neighbors: Which neighbour's distance is the unit; the farthest, if there are fewer.

    Returns:
        ``(n, n)`` weights in [0, 1] without a diagonal, and ``(n,)`` units of distance.

    Source:
        Zelnik-Manor & Perona 2004, Self-Tuning Spectral Clustering.
    """
    distances = cdist(points, points)
    units = _units(np.partition(distances, min(neighbors, len(points) - 1), axis=1), neighbors)
    weights = np.exp(-(distances**2) / (units[:, None] * units))
    np.fill_diagonal(weights, 0)
    return weights, units


def walk_from(points: Rows, nodes: Rows, units: Rows, neighbors: int) -> Rows:
    """Chances ``(n, m)`` of a random walk's step from new points to the nodes of a graph.

    A point far from every node still goes somewhere: the weights are compared as logarithms.
    """
    distances = cdist(points, nodes)
    rank = min(neighbors, len(nodes)) - 1
    own = _units(np.partition(distances, rank, axis=1), rank)
    return softmax(-(distances**2) / (own[:, None] * units), axis=1)


def _units(ordered: Rows, rank: int) -> NDArray[np.float64]:
    units = ordered[:, min(rank, ordered.shape[1] - 1)]
    # Copies of one row lie at distance 0 of each other.
    return np.maximum(units, 1e-3 * np.median(units) + 1e-12)
