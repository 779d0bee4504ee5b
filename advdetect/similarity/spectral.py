"""Graph Laplacians, and the cut in two that their Fiedler vector makes."""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, splu
from torch import Tensor

from advdetect.checks import pick
from advdetect.errors import InputError
from advdetect.similarity.bits import BitCodes, hamming_similarity
from advdetect.similarity.graph_operators import (
    Graph,
    GraphOperator,
    Vector,
    check_weights,
    graph_operator,
)

LaplacianKind = Literal["unnormalised", "symmetric", "random-walk"]
KINDS = {kind: kind for kind in ("unnormalised", "symmetric", "random-walk")}

DENSE_ROWS = 500  # up to here a full decomposition is as quick as Lanczos
# Lanczos stops at these errors, relative to an eigenvalue's distance from the mean of all. The
# third is needed for the gap alone: waiting for its digits would double the time.
SECOND_TOLERANCE, THIRD_TOLERANCE = 1e-4, 3e-2
KRYLOV_VECTORS = 12
RESTARTS = 60  # before a sparse graph is factorised instead
LOPSIDED_SHARE = 0.02


@final
@dataclass(frozen=True, eq=False)
class Partition:
    """Two groups of inputs, cut where their graph is connected least.

    Args:
        vector: ``(n,)`` float64 Fiedler vector of length 1: how far an input is on its side.
        side: ``(n,)`` bool, where the vector is positive: the smaller side, or of two
            equal ones the side without the first input.
        eigenvalue: Second smallest eigenvalue of the Laplacian, 0 where the graph falls apart.
        eigengap: Distance to the third: without any, other directions cut as well.
        warning: Why the cut means nothing, in words, or ``None``. Given where the gap is no
            larger than among unrelated inputs, or a side holds one input or under 2 %.
    """

    vector: Tensor
    side: Tensor
    eigenvalue: float
    eigengap: float
    warning: str | None


def laplacian(similarity: Tensor, kind: LaplacianKind = "symmetric") -> Tensor:
    """Degrees minus weights: the operator whose small eigenvalues tell loose connections.

    The diagonal is ignored: an input is not its own neighbour. An input without any
    neighbour has a row of zeros.

    Args:
        similarity: ``(n, n)`` symmetric weights.
        kind: ``unnormalised`` D - S; ``symmetric`` I - D^-1/2 S D^-1/2; ``random-walk``
            I - D^-1 S, which is not symmetric.

    Returns:
        ``(n, n)`` matrix, differentiable.

    Raises:
        InputError: weights that are not square, finite and symmetric, or negative ones with
            a normalised Laplacian.

    Source:
        von Luxburg 2007, arXiv:0711.0189, section 3.
    """
    pick(KINDS, kind, "laplacian")
    check_weights(similarity)
    _check_sign(similarity.min().item(), kind)
    weights = similarity - torch.diag(similarity.diagonal())
    degree = weights.sum(1)
    if kind == "unnormalised":
        return torch.diag(degree) - weights
    present = degree > 0
    inverse = present / torch.where(present, degree, 1)
    identity = torch.diag(present.to(weights))
    if kind == "random-walk":
        return identity - inverse[:, None] * weights
    return identity - inverse.sqrt()[:, None] * weights * inverse.sqrt()


def knn_graph(similarity: Tensor, k: int) -> sparse.csr_array:
    """Join every input to the ``k`` most alike; an edge that one end alone chose weighs half.

    Only the order counts, so that minus a distance does as well. Unlike the graph of all
    pairs, it is deaf to inputs far away and to how alike the near ones are.

    Args:
        similarity: ``(n, n)``, higher where inputs are more alike. The diagonal is ignored.
        k: Edges that each input chooses, 1 to ``n - 1``.

    Returns:
        ``(n, n)`` symmetric sparse weights, 1 and 1/2, at most ``2 n k`` of them.

    Raises:
        InputError: not square, finite and symmetric, or ``k`` beyond the inputs.
    """
    check_weights(similarity)
    n = len(similarity)
    if not 1 <= k < n:
        raise InputError(f"k must be between 1 and n - 1 = {n - 1}, got {k}")
    itself = torch.eye(n, dtype=torch.bool, device=similarity.device)
    chosen = similarity.detach().masked_fill(itself, -torch.inf).topk(k, dim=1).indices
    rows = np.arange(n).repeat(k)
    directed = sparse.csr_array((np.ones(n * k), (rows, chosen.flatten().cpu().numpy())), (n, n))
    return ((directed + directed.T) / 2).tocsr()


def fiedler_partition(
    similarity_or_codes: Graph, laplacian: LaplacianKind = "symmetric"
) -> Partition:
    """Cut inputs in two by the sign of the second eigenvector of their graph's Laplacian.

    With two clear groups the sides are the groups, without any label. On dense Hamming
    similarities ``symmetric`` finds weak groups where ``unnormalised`` cuts off a few loosely
    connected inputs. Where inputs differ most in how many bits are on, all kinds cut by that.

    Args:
        similarity_or_codes: ``(n, n)`` symmetric weights, dense or sparse, or ``n`` codes,
            which stand for their Hamming similarities; at least 3 inputs. The diagonal is
            ignored.
        laplacian: ``symmetric``; ``random-walk``, the same cut by a vector that is constant
            on groups without connection; ``unnormalised``, which alone takes negative weights.

    Returns:
        The partition, its tensors where the graph was. Beyond 500 inputs some dozens of
        products with the graph, of O(n^2), O(edges) or, for codes of d bits, O(n d), and
        O(n) memory beside it; the gap is then exact to some per cent.

    Raises:
        InputError: fewer than 3 inputs, no edge, weights that are not square, finite and
            symmetric, or negative ones with a normalised Laplacian.

    Source:
        Fiedler 1973; on bit vectors Jamil et al. 2023, arXiv:2305.01808.
    """
    pick(KINDS, laplacian, "laplacian")
    if isinstance(similarity_or_codes, BitCodes) and len(similarity_or_codes) <= DENSE_ROWS:
        similarity_or_codes = hamming_similarity(similarity_or_codes, similarity_or_codes)
    graph = graph_operator(similarity_or_codes)
    if graph.n < 3:
        raise InputError(f"a cut needs at least 3 inputs, got {graph.n}")
    _check_sign(graph.lowest, laplacian)
    if not graph.degree.any():
        raise InputError("a cut needs edges, got a graph without any")
    problem = _FiedlerProblem(graph, normalised=laplacian != "unnormalised")
    values, vectors = problem.solve()
    vector = vectors[:, 0]
    if laplacian == "random-walk":
        vector = vector * problem.root_inverse
        vector = vector / np.linalg.norm(vector)
    ahead = 2 * int((vector > 0).sum())
    if ahead > graph.n or (ahead == graph.n and vector[0] > 0):
        vector = -vector
    side = vector > 0
    return Partition(
        vector=torch.from_numpy(vector).to(graph.device),
        side=torch.from_numpy(side).to(graph.device),
        eigenvalue=float(values[0]),
        eigengap=float(values[1] - values[0]),
        warning=_warning(values, problem.mean_eigenvalue, int(side.sum()), graph.n),
    )


def _warning(values: Vector, mean: float, smaller: int, n: int) -> str | None:
    second, third = values
    # At the edge of a random matrix's spectrum gaps are about n^(-2/3) of its half width; three
    # times that, within bounds, hold nine of ten sets of unrelated codes. On a long thin graph
    # eigenvalues crowd near 0 instead, there the third is the yardstick. Last, pure rounding.
    chance = min(max(3 * n ** (-2 / 3), 0.05), 0.25)
    if third - second <= max(chance * min(abs(third), mean - second), 1e-9 * abs(mean)):
        return (
            f"the cut is arbitrary: the second and third eigenvalues, {second:.4g} and "
            f"{third:.4g}, hardly differ, so that other directions cut as well"
        )
    if smaller < max(2, LOPSIDED_SHARE * n):
        return f"the cut sets apart only {smaller} of {n} inputs: outliers rather than a group"
    return None


def _check_sign(lowest: float, kind: LaplacianKind) -> None:
    if lowest < 0 and kind != "unnormalised":
        raise InputError(
            f"the {kind} Laplacian needs similarities of at least 0, got {lowest:.4g}: "
            "clamp or shift them, or take 'unnormalised'"
        )


class _FiedlerProblem:
    """The Laplacian upside down, so that its Fiedler vector comes first.

    A = mean - L counts eigenvalues down from their mean, so that a relative tolerance is
    one against their spread. Vectors that are known, the trivial one first of all, are moved
    to the far end, where they cannot mix with others of their eigenvalue.
    """

    def __init__(self, graph: GraphOperator, *, normalised: bool) -> None:
        self.graph = graph
        present = graph.degree > 0 if normalised else np.full(graph.n, True)
        root = np.sqrt(np.where(present, graph.degree, 1)) if normalised else np.ones(graph.n)
        self.root_inverse = present / root
        self.diagonal = present.astype(np.float64) if normalised else graph.degree
        self.known = (present * root / np.linalg.norm(present * root))[:, None]
        self.mean_eigenvalue = float(self.diagonal.sum() / (graph.n - 1))
        self.far = 4 * float(np.abs(self.diagonal).max())

    def times(self, x: Vector) -> Vector:
        """Return A x."""
        x = x.ravel()
        neighbours = self.root_inverse * self.graph.times(self.root_inverse * x)
        known = self.far * (self.known @ (self.known.T @ x))
        return (self.mean_eigenvalue - self.diagonal) * x + neighbours - known

    def solve(self) -> tuple[Vector, Vector]:
        """Return the second and third eigenvalues of L, and their vectors as columns."""
        n = self.graph.n
        if n <= DENSE_ROWS:
            matrix = np.stack([self.times(unit) for unit in np.eye(n)])
            values, vectors = eigh((matrix + matrix.T) / 2, subset_by_index=[n - 2, n - 1])
        else:
            values, vectors = self._lanczos()
        order = np.argsort(-values)
        return self.mean_eigenvalue - values[order], vectors[:, order]

    def _lanczos(self) -> tuple[Vector, Vector]:
        n, is_sparse = self.graph.n, self.graph.matrix is not None
        operator = LinearOperator((n, n), matvec=self.times, dtype=np.float64)
        values: list[float] = []
        for tolerance in (SECOND_TOLERANCE, THIRD_TOLERANCE):
            try:
                value, vector = eigsh(
                    operator,
                    k=1,
                    which="LA",
                    v0=np.random.default_rng(len(values)).standard_normal(n),
                    ncv=min(n, KRYLOV_VECTORS),
                    maxiter=RESTARTS if is_sparse else 10 * n,
                    tol=tolerance,
                )
            except ArpackNoConvergence:
                if not is_sparse:
                    raise
                return self._factorised()
            values.append(value[0])
            self.known = np.column_stack([self.known, vector])
        return np.array(values), self.known[:, 1:]

    def _factorised(self) -> tuple[Vector, Vector]:
        """Shift and invert: for long thin graphs, through which Lanczos creeps."""
        n, scale = self.graph.n, sparse.diags_array(self.root_inverse)
        trivial = self.known[:, 0]
        shift = self.mean_eigenvalue * 1e-9  # L itself cannot be inverted
        matrix = sparse.diags_array(self.diagonal + shift) - scale @ self.graph.matrix @ scale
        factors = splu(matrix.tocsc())

        def inverse(x: Vector) -> Vector:
            x = x.ravel() - (trivial @ x.ravel()) * trivial
            x = factors.solve(x)
            return x - (trivial @ x) * trivial

        operator = LinearOperator((n, n), matvec=inverse, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(operator, 2, which="LA", v0=start)
        return self.mean_eigenvalue + shift - 1 / values, vectors
