"""Published scores of the logits alone: maximum softmax probability, margin, and energy."""

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation


class SoftmaxFeatures(Feature):
    """Log of the probability that the softmax leaves to all other classes.

    The same order as one minus the maximum softmax probability, without its ties near 0.
    Nothing is learnt.

    Source:
        Hendrycks & Gimpel 2017, arXiv:1610.02136.
    """

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        return [("", "log probability of the other classes")]

    def _rows(self, observation: Observation) -> Tensor:
        logits = observation.logits
        others = logits.scatter(1, logits.argmax(1, keepdim=True), -torch.inf)
        return (others.logsumexp(1) - logits.logsumexp(1))[:, None]


class MarginFeatures(Feature):
    """Minus the lead of the highest logit over the second, 0 on the decision boundary.

    Within the eps that a network was trained against its logits move little, so that an attacker
    who gets past the boundary seldom gets far. Elsewhere one goes on, and is ranked as cleaner
    than clean inputs. Nothing is learnt.

    Source:
        Liang et al. 2024, arXiv:2405.05160 (margins of raw logits).
    """

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        return [("", "minus the margin")]

    def _rows(self, observation: Observation) -> Tensor:
        first, second = observation.logits.topk(2, dim=1).values.T
        return (second - first)[:, None]


class EnergyFeatures(Feature):
    """Free energy of the logits, at temperature 1. Nothing is learnt.

    Source:
        Liu et al. 2020, arXiv:2010.03759, Eq. 4.
    """

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        return [("", "energy")]

    def _rows(self, observation: Observation) -> Tensor:
        return -observation.logits.logsumexp(1, keepdim=True)
