"""Foolbox's minimum-norm attacks, mended; imported late, because Foolbox is."""

from typing import Any

import eagerpy as ep
import torch
from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
from foolbox.attacks.fast_minimum_norm import L2FMNAttack, LInfFMNAttack


class HonestCarliniWagner(L2CarliniWagnerAttack):
    """Carlini-Wagner that returns the picture itself where it found nothing.

    Foolbox returns a black picture there, which is a success of no attack where the model
    happens to give it another class.

    Source:
        Carlini & Wagner 2017, arXiv:1608.04644, section VI-A.
    """

    def run(self, model: Any, inputs: Any, criterion: Any, **kwargs: Any) -> Any:
        """Return ``(n, c, h, w)`` pictures just across the decision boundary."""
        found = super().run(model, inputs, criterion, **kwargs)
        nothing = (found == 0).flatten(1).all(1)
        return torch.where(nothing.view(-1, 1, 1, 1), inputs, found)


# FMN's radius, until something is found, is where a linear model would change its mind. Steps to
# that very radius come ever closer to the boundary and need never cross it: on a linear model
# they end on it, on one that curves away they end before it.
_MARGIN = 1.02


class LinfFMN(LInfFMNAttack):
    """Fast minimum norm that also finds what lies just behind its radius.

    Source:
        Pintor et al. 2021, arXiv:2102.12827, Algorithm 1.
    """

    def project(self, x: Any, x0: Any, epsilon: Any) -> Any:
        return super().project(x=x, x0=x0, epsilon=_MARGIN * epsilon)


class L2FMN(L2FMNAttack):
    """Fast minimum norm that keeps to its own shrinking ball.

    Foolbox's projection onto the L2 ball divides a norm by itself and so does nothing: its
    perturbations only ever grow, to within a step of the boundary at best.

    Source:
        Pintor et al. 2021, arXiv:2102.12827, Algorithm 1.
    """

    def project(self, x: Any, x0: Any, epsilon: Any) -> Any:
        difference = x - x0
        size = difference.flatten(start=1).norms.l2(axis=-1)
        factor = ep.minimum(1, _MARGIN * epsilon / ep.maximum(size, 1e-12))
        return x0 + difference * factor.reshape((len(x0), 1, 1, 1))
