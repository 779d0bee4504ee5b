"""The cut of a batch: clean against attacked inputs, with no label at all."""

import numpy as np
import torch
from numpy.typing import NDArray

from advdetect.similarity.spectral import Partition, fiedler_partition, knn_graph

NEIGHBORS = 10


def standardise(
    rows: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Standardise rows by clean reference rows."""
    scale = np.maximum(reference.std(0), 1e-9 + 1e-6 * np.abs(reference.mean(0)))
    return np.clip((rows - reference.mean(0)) / scale, -10, 10)


def transductive_cut(
    rows: NDArray[np.float64], reference: NDArray[np.float64]
) -> Partition:
    """Cut rows of one predicted class in two by the Fiedler vector of their k-NN graph."""
    x = torch.from_numpy(standardise(rows, reference))
    distances = torch.cdist(x, x)
    return fiedler_partition(knn_graph(-distances, min(NEIGHBORS, len(rows) - 1)))


def embed(
    rows: NDArray[np.float64],
    predicted: NDArray[np.int64],
    reference: NDArray[np.float64],
    reference_predicted: NDArray[np.int64],
) -> NDArray[np.float64]:
    own = reference[reference_predicted == predicted[0]]
    part = transductive_cut(rows, own if len(own) > 20 else reference)
    v = part.vector.numpy()
    return np.stack([v, v], 1)
