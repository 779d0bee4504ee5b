"""An attack on an ensemble that looks at its members one by one."""

from typing import final

import torch
from torch import Tensor

from advdetect.attacks.auto_pgd import climb
from advdetect.attacks.base import Norm
from advdetect.attacks.losses import margin
from advdetect.attacks.searching import Hold, Search
from advdetect.networks.ensemble import seeing_members

# To whom an ascent listens: all members alike; those nearest to giving way, so that few are
# pushed far; those furthest from it, so that none is left behind.
SHARPNESS = (0.0, 4.0, -4.0)


class Reweighted(Search):
    """Auto-PGD on a weighted mean of the members' margins, by several weightings in turn.

    The gradient of an ensemble's averaged probabilities is that of its least certain members:
    members that are sure of themselves, rightly or wrongly, hardly add to it, and diversity can
    hide an easy way. Here each member has a margin of its own, in units of its logits' spread,
    and weights that follow from how far each of them is from giving way. Success is judged by
    the ensemble itself. A model without members counts as an ensemble of one.

    Args:
        norm: ``linf`` or ``l2``.
        steps: Steps of each ascent; there are as many ascents as weightings, on what holds.

    Source:
        After Yu, Gao and Xu 2022 (MORA), NeurIPS 2022, which re-weights members' losses by their
        difficulty; margins and weightings are our own.
    """

    def __init__(self, norm: Norm, *, steps: int = 100) -> None:
        super().__init__(norm)
        self.steps = steps

    @final
    def search(self, hold: Hold) -> None:
        """Climb by every weighting from a random start each."""
        for sharpness in SHARPNESS:
            rows = hold.rows
            if len(rows):
                self._climb(hold, rows, sharpness)

    def _climb(self, hold: Hold, rows: Tensor, sharpness: float) -> None:
        with seeing_members() as seen:

            def loss(logits: Tensor, lanes: Tensor) -> Tensor:
                members = seen.pop() if seen else logits[None]
                return _weighted(members, hold.labels[rows[lanes]], sharpness)

            climb(hold, rows, loss, norm=self.norm, steps=self.steps)


def _weighted(members: Tensor, labels: Tensor, sharpness: float) -> Tensor:
    """Weighted mean ``(n,)`` of the margins of ``(members, n, classes)`` logits."""
    margins = torch.stack([margin(own, labels) / _spread(own) for own in members])
    return ((sharpness * margins.detach()).softmax(0) * margins).sum(0)


def _spread(logits: Tensor) -> Tensor:
    """How far the highest logit stands above the mean; the same factor for every class."""
    return (logits.amax(1) - logits.mean(1)).detach().clamp(min=1e-6)
