"""Graphs as operators: all that a Lanczos iteration asks of a graph, however it is stored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from advdetect.errors import InputError
from advdetect.similarity.bits import UNPACKED_BYTES, BitCodes

Vector = NDArray[np.float64]
Graph: TypeAlias = Tensor | sparse.sparray | sparse.spmatrix | BitCodes


@final
@dataclass(frozen=True, eq=False)
class GraphOperator:
    """Symmetric weights between ``n`` inputs, seen without their diagonal.

    Args:
        n: How many inputs.
        times: Multiplies the weights with a vector.
        degree: ``(n,)`` sums of each input's weights.
        lowest: The smallest weight, or a bound below it.
        device: Where the graph was given.
        matrix: The weights where they are sparse, else ``None``.
    """

    n: int
    times: Callable[[Vector], Vector]
    degree: Vector
    lowest: float
    device: torch.device
    matrix: sparse.csr_array | None = None


def graph_operator(graph: Graph) -> GraphOperator:
    """Take a similarity tensor, a SciPy sparse matrix or codes as an operator.

    Args:
        graph: ``(n, n)`` symmetric finite weights, or codes for their Hamming similarity.

    Returns:
        The operator. Codes of d bits are multiplied in O(n d), unpacked a few rows at a
        time; no ``n x n`` matrix is formed.

    Raises:
        InputError: something else, or weights that are not square, finite and symmetric.
    """
    if isinstance(graph, BitCodes):
        return _of_codes(graph)
    if isinstance(graph, Tensor):
        return _of_tensor(graph.detach())
    if sparse.issparse(graph):
        return _of_sparse(sparse.csr_array(graph, dtype=np.float64))
    raise InputError(
        "expected a similarity tensor, a SciPy sparse matrix or BitCodes, "
        f"got {type(graph).__name__}"
    )


def _of_tensor(similarity: Tensor) -> GraphOperator:
    check_weights(similarity)
    weights = similarity.float() if similarity.element_size() < 4 else similarity
    own = weights.diagonal()

    def times(x: Vector) -> Vector:
        moved = torch.from_numpy(x).to(weights)
        return _to_numpy(weights @ moved - own * moved)

    degree = _to_numpy(weights.sum(1) - own)
    return GraphOperator(len(own), times, degree, weights.min().item(), weights.device)


def _of_sparse(weights: sparse.csr_array) -> GraphOperator:
    if weights.shape[0] != weights.shape[1]:
        raise InputError(f"expected (n, n) similarities, got {weights.shape}")
    if not np.isfinite(weights.data).all():
        raise InputError("similarities must be finite, got NaN or infinity")
    if weights.nnz and abs(weights - weights.T).max() > 1e-6 * abs(weights).max():
        raise InputError("expected symmetric similarities")
    weights = (weights - sparse.diags_array(weights.diagonal())).tocsr()
    lowest = float(weights.data.min(initial=0))
    degree = np.asarray(weights.sum(axis=1))
    n = weights.shape[0]
    return GraphOperator(n, weights.dot, degree, lowest, torch.device("cpu"), weights)


def _of_codes(codes: BitCodes) -> GraphOperator:
    n, bits, device = len(codes), codes.n_bits, codes.packed.device
    step = max(1, UNPACKED_BYTES // (4 * bits))
    # One buffer for all blocks: fresh ones would leave holes of the allocator's behind.
    buffer = torch.empty(min(step, n), bits, device=device)

    def blocks() -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, n, step):
            rows = slice(start, start + step)
            # Bytes: torch turns them into floats five times as fast as it does booleans.
            bit_rows = codes[rows].unpack().view(torch.uint8)
            yield rows, buffer[: len(bit_rows)].copy_(bit_rows)

    def times(x: Vector) -> Vector:
        # With signs of +-1 for bits, the similarity is (1 + signs @ signs.T / bits) / 2.
        moved = torch.from_numpy(x).to(device, torch.float32)
        total = moved.sum()
        fired = torch.zeros(bits, device=device)
        for rows, block in blocks():
            fired += moved[rows] @ block
        signed = 2 * fired - total
        back = torch.empty(n, device=device)
        for rows, block in blocks():
            back[rows] = block @ signed
        return _to_numpy((total + (2 * back - signed.sum()) / bits) / 2 - moved)

    return GraphOperator(n, times, times(np.ones(n)), 0.0, device)


def check_weights(similarity: Tensor) -> None:
    """Require a square, finite, symmetric matrix of floating-point similarities."""
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise InputError(f"expected (n, n) similarities, got {tuple(similarity.shape)}")
    if not similarity.is_floating_point():
        raise InputError(f"expected floating-point similarities, got {similarity.dtype}")
    if len(similarity) == 0:
        raise InputError("expected similarities of some inputs, got none")
    lowest, highest = (bound.item() for bound in torch.aminmax(similarity))
    if not np.isfinite([lowest, highest]).all():
        raise InputError("similarities must be finite, got NaN or infinity")
    # A product from either side tells asymmetry in a tenth of the time of a transposed copy.
    probe = torch.arange(len(similarity), device=similarity.device).cos().to(similarity)
    apart = (probe @ similarity - similarity @ probe).abs().max().item()
    rounding = len(similarity) ** 0.5 * torch.finfo(similarity.dtype).eps
    if apart > 100 * rounding * max(abs(lowest), abs(highest)):
        raise InputError("expected symmetric similarities")


def _to_numpy(values: Tensor) -> NDArray[Any]:
    return values.cpu().double().numpy()
