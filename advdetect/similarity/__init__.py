"""How alike are two representations of the same inputs? Pure functions on tensors.

``MEASURES`` takes two ``(n, p)`` and ``(n, q)`` matrices, rows paired, and returns a scalar,
near 1 for representations that are alike.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from advdetect.similarity.cca import (
    linear_regression_r2,
    mean_cca,
    mean_squared_cca,
    procrustes_similarity,
    pwcca,
    svcca,
)
from advdetect.similarity.cka import linear_cka, rbf_cka, unbiased_linear_cka
from advdetect.similarity.distance_correlation import (
    distance_correlation,
    squared_distance_correlation,
    unbiased_squared_distance_correlation,
)
from advdetect.similarity.graphs import degree_correlation, graph_similarity
from advdetect.similarity.rdm import correlation_rsa, euclidean_rsa, hamming_rsa

Measure = Callable[[Tensor, Tensor], Tensor]

MEASURES: Mapping[str, Measure] = {
    measure.__name__: measure
    for measure in (
        linear_cka,
        unbiased_linear_cka,
        rbf_cka,
        distance_correlation,
        squared_distance_correlation,
        unbiased_squared_distance_correlation,
        graph_similarity,
        degree_correlation,
        correlation_rsa,
        euclidean_rsa,
        hamming_rsa,
        mean_cca,
        mean_squared_cca,
        svcca,
        pwcca,
        linear_regression_r2,
        procrustes_similarity,
    )
}
# Of these the order of the arguments changes the value.
ORDERED = frozenset({"linear_regression_r2", "pwcca"})
