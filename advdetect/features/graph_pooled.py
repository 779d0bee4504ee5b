"""Graph-based similarity (GBS) of a single input, by the mean output of each channel."""

from typing import ClassVar

from torch import Tensor

from advdetect.features.base import Observation
from advdetect.features.graph_edges import GraphFeatures


class PooledGraphFeatures(GraphFeatures):
    """As ``GraphFeatures``, with edges between channel means in place of single units.

    Means forget where in the picture something is, and cost little to compare; taking them reads
    whole layers, which the chosen units do not.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 4 and 5, on pooled outputs.
    """

    needs_means: ClassVar[bool] = True

    def _outputs(self, observation: Observation, layer: str) -> Tensor:
        return observation.means[layer]
