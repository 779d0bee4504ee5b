"""Virtual-logit matching: what of the last features lies outside their usual subspace."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation


class VirtualLogitFeatures(Feature):
    """A logit for "none of these", made of the residual norm, against the others' energy.

    On the mean output of every channel of the last layer, which for a network that ends in a
    global mean is what the classifier sees. The usual subspace is spanned by the main half of
    the directions; the residual is scaled so that on clean inputs it is as large as the
    greatest logit.

    Source:
        Wang et al. 2022, arXiv:2203.10807, Eq. 5 and 6.
    """

    needs_means: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        means = reference.means[self.layers[-1]].double()
        centre = means.mean(0)
        _, _, directions = torch.linalg.svd(means - centre, full_matrices=True)
        rest = directions[means.shape[1] // 2 :].T
        residual = ((means - centre) @ rest).norm(dim=1)
        scale = reference.logits.amax(1).double().mean() / residual.mean().clamp(min=1e-12)
        self.state |= {
            "centre": centre.float(),
            "rest": rest.float().contiguous(),
            "scale": scale.float()[None],
        }

    def _columns(self) -> list[tuple[str, str]]:
        return [(self.layers[-1], "virtual logit minus energy")]

    def _rows(self, observation: Observation) -> Tensor:
        residual = (observation.means[self.layers[-1]] - self.state["centre"]) @ self.state["rest"]
        virtual = self.state["scale"] * residual.norm(dim=1)
        return (virtual - observation.logits.logsumexp(1))[:, None]
