"""Which rows of a batch were attacked, without any label: the softest cut of their graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from advdetect.detectors.base import Classes, Rows
from advdetect.detectors.graphs import MainDirections, self_tuned_weights
from advdetect.detectors.reference import CleanReference, distance
from advdetect.errors import InputError
from advdetect.similarity.spectral import Partition, fiedler_partition, laplacian

DIRECTIONS = 6
NEIGHBORS = 15
FEWEST = 10  # rows of a predicted class that make a graph worth cutting


@final
@dataclass(frozen=True, eq=False)
class TransductiveCut:
    """A batch cut in two within every predicted class.

    Attributes:
        side: ``(n,)`` bool, the side farther from the clean reference: the attacked one, if any
            is. Where nothing was attacked the cut is there all the same.
        vector: ``(n,)`` Fiedler vector of the row's graph, positive on that side.
        partitions: The cut of each predicted class, its rows in the order of the batch. Classes
            of fewer than 10 rows are left out; their rows have 0 and are not on the side.
    """

    side: NDArray[np.bool_]
    vector: Rows
    partitions: Mapping[int, Partition]


def transductive_cut(
    rows: ArrayLike, predicted: ArrayLike, clean: ArrayLike, clean_predicted: ArrayLike
) -> TransductiveCut:
    """Cut the rows of each predicted class by the sign of their graph's Fiedler vector.

    Rows are seen in the coordinates in which clean reference rows of their class are standard
    normal, along the six directions in which the batch varies most, and joined by self-tuned
    Gaussian weights. No label of the batch is used. A row's side depends on the other rows: this
    is for looking into a batch that holds both kinds in like numbers, not for guarding a model.

    Args:
        rows: ``(n, d)`` features of the batch.
        predicted: ``(n,)`` predicted classes.
        clean: ``(m, d)`` features of clean inputs that the features were not fitted on, best
            100 or more of each predicted class.
        clean_predicted: ``(m,)`` their predicted classes.

    Returns:
        Sides and vectors; O(n^2) memory within a class.

    Raises:
        InputError: shapes that do not fit, values that are not finite, or fewer than 2 clean rows.

    Source:
        Jamil et al. 2023, arXiv:2305.01808 (Fiedler cuts of bit vectors); the features, the
        reference and the graph are our own.
    """
    X, classes, known, known_classes = _check(rows, predicted, clean, clean_predicted)
    return cut_against(CleanReference.fit(known, known_classes), X, classes)


def cut_against(reference: CleanReference, X: Rows, classes: Classes) -> TransductiveCut:
    """Cut as ``transductive_cut`` does, for many batches beside the same clean rows.

    Args:
        reference: What clean rows look like; the dear part, fitted once.
        X: ``(n, d)`` features of the batch, finite.
        classes: ``(n,)`` predicted classes.
    """
    whitened = reference.whiten(X, classes)
    unusual = distance(whitened)
    side, vector = np.zeros(len(X), bool), np.zeros(len(X))
    partitions: dict[int, Partition] = {}
    for c in np.unique(classes).tolist():
        members = np.flatnonzero(classes == c)
        if len(members) < FEWEST:
            continue
        partition = fiedler_partition(torch.from_numpy(_weights(whitened[members])), "random-walk")
        ahead = partition.side.numpy()
        far, near = unusual[members][ahead], unusual[members][~ahead]
        sign = 1 if far.mean() >= near.mean() else -1
        side[members] = ahead if sign > 0 else ~ahead
        vector[members] = sign * partition.vector.numpy()
        partitions[c] = partition
    return TransductiveCut(side, vector, partitions)


def embed(
    rows: ArrayLike, predicted: ArrayLike, clean: ArrayLike, clean_predicted: ArrayLike
) -> Rows:
    """Show a batch in the plane of its graph's two softest cuts.

    The graph is that of ``transductive_cut``, but one for all rows: give rows of one predicted
    class to see what is cut there.

    Returns:
        ``(n, 2)``: the Fiedler vector, higher on the side farther from the clean reference, then
        the next eigenvector.

    Raises:
        InputError: as ``transductive_cut``, or fewer than 3 rows.
    """
    X, classes, known, known_classes = _check(rows, predicted, clean, clean_predicted)
    if len(X) < 3:
        raise InputError(f"a plane of cuts needs at least 3 rows, got {len(X)}")
    whitened = CleanReference.fit(known, known_classes).whiten(X, classes)
    weights = _weights(whitened)
    _, vectors = np.linalg.eigh(laplacian(torch.from_numpy(weights), "symmetric").numpy())
    walk = vectors[:, 1:3] / np.sqrt(weights.sum(1) + 1e-12)[:, None]
    signs = np.sign((walk - walk.mean(0)).T @ distance(whitened))
    return walk * np.where(signs == 0, 1.0, signs)


def _weights(whitened: Rows) -> Rows:
    points = MainDirections.of(whitened, DIRECTIONS)(whitened)
    weights, _ = self_tuned_weights(points, NEIGHBORS)
    return weights


def _check(
    rows: ArrayLike, predicted: ArrayLike, clean: ArrayLike, clean_predicted: ArrayLike
) -> tuple[Rows, Classes, Rows, Classes]:
    X, known = np.asarray(rows, np.float64), np.asarray(clean, np.float64)
    classes, known_classes = np.asarray(predicted, np.int64), np.asarray(clean_predicted, np.int64)
    if X.ndim != 2 or known.ndim != 2 or X.shape[1] != known.shape[1]:
        raise InputError(
            f"expected rows (n, d) and clean rows (m, d) of one width, got {X.shape} and "
            f"{known.shape}"
        )
    if classes.shape != X.shape[:1] or known_classes.shape != known.shape[:1]:
        raise InputError(
            f"expected a predicted class for each of {len(X)} rows and {len(known)} clean rows, "
            f"got shapes {classes.shape} and {known_classes.shape}"
        )
    if len(known) < 2:
        raise InputError(f"clean rows to compare with: expected at least 2, got {len(known)}")
    if not (np.isfinite(X).all() and np.isfinite(known).all()):
        raise InputError("rows must be finite, got NaN or infinity")
    return X, classes, known, known_classes
