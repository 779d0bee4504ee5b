"""How decided the classifier is."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation

# Widths, in logits, of the bumps that mark inputs on a decision boundary.
BOUNDARY = (0.1, 0.4, 1.5)


class LogitFeatures(Feature):
    """Confidence, energy, spread, and closeness to the decision boundary.

    Attacks that seek the smallest perturbation stop on the boundary, where clean inputs are
    rare: the gap of the two highest logits finds them. An attacker who goes a little further
    is not found by it, but then by the layers. Nothing is learnt, and nothing kept.
    """

    of_decision: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        pass

    def _columns(self) -> list[tuple[str, str]]:
        names = ["highest", "gap to second", "gap to third", "energy", "log of the rest"]
        names += ["mean", "deviation", "log of the gap"]
        return [("", name) for name in [*names, *(f"gap within {w}" for w in BOUNDARY)]]

    def _rows(self, observation: Observation) -> Tensor:
        logits = observation.logits
        top = logits.topk(min(3, logits.shape[1]), dim=1).values
        first, second, third = top[:, 0], top[:, 1], top[:, -1]
        gap = first - second
        rest = 1 - logits.softmax(1).amax(1)
        return torch.stack(
            [
                first,
                gap,
                first - third,
                logits.logsumexp(1),
                torch.log(rest + 1e-6),
                logits.mean(1),
                logits.std(1),
                torch.log(gap + 1e-3),
                *(torch.exp(-gap / width) for width in BOUNDARY),
            ],
            dim=1,
        )
