"""Inputs as points in the plane: the smooth eigenvectors of their graph, and where others fall."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from advdetect.errors import InputError
from advdetect.similarity.spectral import laplacian


@final
@dataclass(frozen=True, eq=False)
class Embedding:
    """Where inputs lie in the first eigenvectors of their graph.

    Attributes:
        coordinates: ``(n, d)`` float64. The first column is the Fiedler vector of the random
            walk: its sign cuts where ``fiedler_partition`` cuts.
        eigenvalues: ``(d,)`` of the normalised Laplacian, ascending, the trivial 0 left out.
    """

    coordinates: Tensor
    eigenvalues: Tensor

    def place(self, weights: Tensor) -> Tensor:
        """Find where new inputs would lie, by the same eigenvectors (Nystroem's extension).

        A new input at an old one's edges lies where the old one lies, exactly.

        Args:
            weights: ``(m, n)`` not negative, from each new input to the ``n`` old ones.

        Returns:
            ``(m, d)`` float64.

        Raises:
            InputError: weights of another width, negative or all 0, or an eigenvalue of 1 or
                more: that eigenvector is rough, and says nothing of new inputs.
        """
        if weights.ndim != 2 or weights.shape[1] != len(self.coordinates):
            raise InputError(
                f"expected weights (m, {len(self.coordinates)}), got {tuple(weights.shape)}"
            )
        total = weights.double().sum(1, keepdim=True)
        if weights.min() < 0 or total.min() <= 0:
            raise InputError("expected weights that are not negative, and one above 0 in each row")
        smoothness = 1 - self.eigenvalues
        if smoothness.min() <= 1e-9:
            raise InputError("the graph has no smooth eigenvector to place inputs by")
        return weights.double() @ self.coordinates / total / smoothness


def spectral_embedding(similarity: Tensor, dimensions: int = 2) -> Embedding:
    """Place inputs so that those alike lie close: Laplacian eigenmaps.

    Args:
        similarity: ``(n, n)`` symmetric weights, none negative. The diagonal is ignored.
        dimensions: How many eigenvectors, at most ``n - 1``.

    Returns:
        The embedding; of each eigenvector the sign is free, and is chosen so that its largest
        entry is positive. A full decomposition: O(n^3), for a few hundred inputs.

    Raises:
        InputError: weights that are not square, symmetric and finite, an input without any
            neighbour, or more dimensions than there are.

    Source:
        Belkin & Niyogi 2003, doi:10.1162/089976603321780317; Bengio et al. 2004 for ``place``.
    """
    weights = similarity.detach().double()
    operator = laplacian(weights)
    if not 1 <= dimensions < len(weights):
        raise InputError(f"expected 1 to {len(weights) - 1} dimensions, got {dimensions}")
    degree = weights.sum(1) - weights.diagonal()
    if degree.min() <= 0:
        raise InputError("an input without any neighbour has no place: leave it out")
    values, vectors = torch.linalg.eigh(operator)
    coordinates = vectors[:, 1 : dimensions + 1] / degree.sqrt()[:, None]
    largest = coordinates.gather(0, coordinates.abs().argmax(0, keepdim=True))
    return Embedding(coordinates * largest.sign(), values[1 : dimensions + 1])
