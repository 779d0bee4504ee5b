"""Graph-based similarity (GBS): inputs as nodes, cosines as edges, compared node by node."""

import torch
from torch import Tensor

from advdetect.checks import check_labels
from advdetect.errors import InputError
from advdetect.similarity.gram import paired


def cosine_graph(x: Tensor, k: int | None = 5) -> Tensor:
    """Join every input to the ``k`` inputs that its representation is most alike to.

    The weight of an edge is the cosine of the flattened representations, without centring.
    An edge that only one of its two ends chose gets half of its weight, ``(A + A^T) / 2``.
    Representations that are 0 everywhere have cosine 0 with all others.

    Args:
        x: ``(n, ...)`` activations, one entry per input, flattened here.
        k: Edges that each node chooses, 1 to ``n - 1``. ``None`` keeps all edges: on
            ReLU features, which are never negative, such graphs are nearly complete and
            say nothing (independent features: similarity 0.99 at n = 200).

    Returns:
        ``(n, n)`` symmetric weights with zero diagonal, differentiable in ``x`` for fixed
        neighbours. Takes O(n^2 p) time.

    Raises:
        InputError: not a finite float tensor of at least two rows, or a ``k`` beyond them.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 4; halves as in the code of its authors.
    """
    (x,) = _flattened(x)
    n = len(x)
    if k is not None and not 1 <= k < n:
        raise InputError(f"k must be between 1 and n - 1 = {n - 1}, got {k}: use fewer, or None")
    itself = torch.eye(n, dtype=torch.bool, device=x.device)
    apart = _squared_chords(x)
    if k is None:
        weights = (1 - apart / 2).masked_fill(itself, 0)
        return (weights + weights.T) / 2
    # By distance: under a large mean all cosines round to 1, their distances do not.
    apart = apart.masked_fill(itself, torch.inf)
    nearest = apart.detach().topk(k, largest=False, sorted=False).indices
    half = (1 - apart.gather(1, nearest) / 2).flatten() / 2
    ends = (torch.arange(n, device=x.device).repeat_interleave(k), nearest.flatten())
    # Each half once from either end: adding a transposed matrix would take longer than the rest.
    return (
        torch.zeros_like(apart).index_put(ends, half).index_put(ends[::-1], half, accumulate=True)
    )


def node_similarity(graph_x: Tensor, graph_y: Tensor) -> Tensor:
    """Cosine of each node's edges in one graph with its edges in the other.

    1 where a node has the same neighbours in the same proportions, 0 where it shares none
    of them, or has no edge in one of the graphs.

    Args:
        graph_x: ``(n, n)`` weights.
        graph_y: ``(n, n)`` weights between the same inputs in the same order.

    Returns:
        ``(n,)`` in [-1, 1], in [0, 1] for weights that are not negative; differentiable.

    Raises:
        InputError: two graphs that are not square, or not of the same nodes.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 5 before the mean.
    """
    for graph in (graph_x, graph_y):
        _check_graph(graph)
    graph_x, graph_y = paired(graph_x, graph_y)
    # Lengths divide n sums, where unit rows would be two more matrices of n x n.
    return (graph_x * graph_y).sum(1) / (_lengths(graph_x) * _lengths(graph_y)).squeeze(1)


def graph_similarity(x: Tensor, y: Tensor, k: int | None = 5) -> Tensor:
    """Layer similarity LSim: how far two representations give inputs the same neighbours.

    1 when ``y`` is ``x`` rotated or scaled, as a whole or row by row; about ``k / n`` for
    unrelated representations. It does see a shift and an invertible linear map, which
    turn the angles at the origin: features with a large mean are all alike.

    Args:
        x: ``(n, ...)`` activations, flattened here.
        y: ``(n, ...)`` activations of the same inputs in the same order.
        k: Edges that each node chooses; see ``cosine_graph`` for what ``None`` costs.

    Returns:
        Scalar in [-1, 1], in [0, 1] for features that are not negative; differentiable for
        fixed neighbours. Takes O(n^2 (p + q)) time and O(n^2) memory.

    Raises:
        InputError: the rows do not pair up, or ``k`` is not between 1 and ``n - 1``.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 5.
    """
    return node_similarity(*_two_graphs(x, y, k)).mean()


def degree_correlation(x: Tensor, y: Tensor, k: int | None = 5) -> Tensor:
    """Absolute Pearson correlation of the nodes' degrees (sums of weights) in two graphs.

    1 when the same inputs are hubs in both; 0 when one graph's nodes are all equally
    connected. It knows how many neighbours a node has, not which, and is less exact than
    ``graph_similarity``.

    Args:
        x: ``(n, ...)`` activations, flattened here.
        y: ``(n, ...)`` activations of the same inputs in the same order.
        k: Edges that each node chooses, ``None`` for all.

    Returns:
        Scalar in [0, 1], differentiable for fixed neighbours.

    Raises:
        InputError: the rows do not pair up, or ``k`` is not between 1 and ``n - 1``.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 11 (appendix D).
    """
    degrees = torch.stack([centred_degrees(graph) for graph in _two_graphs(x, y, k)])
    unit = unit_rows(degrees)
    return (unit[0] @ unit[1]).abs()


def centred_degrees(graph: Tensor) -> Tensor:
    """Each node's sum of weights less the mean of all, ``(n,)``; 0 where they differ by rounding.

    Degrees that are equal but for rounding have no correlation to speak of.
    """
    degrees = graph.sum(1)
    centred = degrees - degrees.mean()
    rounding = len(graph) * torch.finfo(degrees.dtype).eps * degrees.abs().amax()
    return centred * (centred.abs() > rounding).any()


def motif_ratios(graph: Tensor, labels: Tensor) -> Tensor:
    """Shares of the triangles of a graph whose corners have one, two or three classes.

    The first rises with depth as a network brings classes together. Any weight but 0 is
    an edge.

    Args:
        graph: ``(n, n)`` symmetric weights.
        labels: ``(n,)`` integer classes of the nodes.

    Returns:
        ``(3,)`` float64 shares, in sum 1: all corners of one class, two of one class,
        three different classes. Takes O(n^3) time, as a matrix product.

    Raises:
        InputError: the graph is not square and symmetric, the labels do not fit, or there
            is no triangle.

    Source:
        Chen et al. 2021, arXiv:2111.11165, section 4.3.
    """
    _check_graph(graph)
    if not torch.equal(graph, graph.T):
        raise InputError("expected symmetric weights: motifs have no direction")
    check_labels(labels, len(graph))
    labels = labels.to(graph.device)
    edge = (graph != 0).double().fill_diagonal_(0)
    within = edge * (labels[:, None] == labels)
    across = edge - within
    # Each sum goes over ordered corners: 6 per triangle, 2 where one edge is singled out.
    total = ((edge @ edge) * edge).sum() / 6
    one_class = ((within @ within) * within).sum() / 6
    two_classes = ((across @ across) * within).sum() / 2
    if total == 0:
        raise InputError("the graph has no triangle, so that ratios mean nothing: raise k")
    return torch.stack([one_class, two_classes, total - one_class - two_classes]) / total


def _two_graphs(x: Tensor, y: Tensor, k: int | None) -> tuple[Tensor, Tensor]:
    x, y = _flattened(x, y)
    return cosine_graph(x, k), cosine_graph(y, k)


def _flattened(*tensors: Tensor) -> list[Tensor]:
    return paired(*(x.flatten(1) if x.ndim > 2 else x for x in tensors))


def unit_rows(x: Tensor) -> Tensor:
    """Rows of length 1; rows of zeros stay, and pass a gradient that is finite."""
    return x / _lengths(x)


def _lengths(x: Tensor) -> Tensor:
    """Length of each row, ``(n, 1)``; 1 for a row of zeros."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return torch.where(length > 0, length, torch.ones_like(length))


def _squared_chords(x: Tensor) -> Tensor:
    """Squared distances between rows of length 1: 2 minus twice the cosines, and 2 for zeros."""
    unit = unit_rows(x)
    centred = unit - unit.mean(0)
    square = centred.square().sum(1)
    apart = torch.addmm(square[:, None] + square, centred, centred.T, alpha=-2)
    zero = (x == 0).all(1)
    return apart.masked_fill(zero[:, None] | zero, 2) if zero.any() else apart


def _check_graph(graph: Tensor) -> None:
    if graph.ndim != 2 or graph.shape[0] != graph.shape[1]:
        raise InputError(f"expected (n, n) weights of a graph, got {tuple(graph.shape)}")
