"""Graphs of rows, joined where they are alike."""

from typing import final

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import softmax

from advdetect.detectors.base import Rows

LIMIT = 3.0  # standard deviations: an outlier in one direction is no group by itself


@final
class MainDirections:
    """The directions in which rows vary most, of coordinates bent to stay within 3.

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
        bent = _bend(whitened)
        centre = bent.mean(0)
        _, _, directions = np.linalg.svd(bent - centre, full_matrices=False)
        return cls(centre, np.ascontiguousarray(directions[:count].T))

    def __call__(self, whitened: Rows) -> Rows:
        """Coordinates ``(n, k)`` along the directions."""
        return (_bend(whitened) - self.centre) @ self.basis


def _bend(whitened: Rows) -> Rows:
    # Smoothly: clipped rows would fall on one point and form a group of their own.
    return whitened / np.sqrt(1 + (whitened / LIMIT) ** 2)


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
    units = _ranked(distances, neighbors)  # rank 0 is the point itself
    # Copies of one row lie at distance 0 of each other.
    units = np.maximum(units, 1e-3 * np.median(units) + 1e-12)
    weights = np.exp(-(distances**2) / (units[:, None] * units))
    np.fill_diagonal(weights, 0)
    return weights, units


def walk_from(points: Rows, nodes: Rows, units: Rows, neighbors: int) -> Rows:
    """Chances ``(n, m)`` of a random walk's step from new points to the nodes of a graph.

    A point far from every node still goes somewhere: the weights are compared as logarithms.

    Args:
        points: ``(n, k)``.
        nodes: ``(m, k)``, what ``self_tuned_weights`` was given.
        units: ``(m,)``, as it returned them.
        neighbors: The same.
    """
    distances = cdist(points, nodes)
    own = np.maximum(_ranked(distances, neighbors - 1), units.min())
    return softmax(-(distances**2) / (own[:, None] * units), axis=1)


def _ranked(distances: Rows, rank: int) -> Rows:
    rank = min(rank, distances.shape[1] - 1)
    return np.partition(distances, rank, axis=1)[:, rank]
