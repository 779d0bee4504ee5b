"""A cascade of unlike attacks, each on what the ones before left standing."""

from collections.abc import Sequence
from typing import final

from advdetect.attacks.auto_pgd import CrossEntropyAutoPGD, TargetedAutoPGD
from advdetect.attacks.base import Norm
from advdetect.attacks.fast_adaptive_boundary import FastAdaptiveBoundary
from advdetect.attacks.searching import Hold, Search
from advdetect.attacks.square import L2Square, LinfSquare


class Cascade(Search):
    """Worst case over several attacks, for the price of the first where that suffices.

    Args:
        norm: ``linf`` or ``l2``, of every member.
        members: In turn; each sees the images that still hold, the rest are not run.

    Source:
        Croce & Hein 2020, arXiv:2003.01690, section 5.
    """

    def __init__(self, norm: Norm, members: Sequence[Search]) -> None:
        super().__init__(norm)
        self.members = tuple(members)

    @final
    def search(self, hold: Hold) -> None:
        """Run the members until nothing holds."""
        for member in self.members:
            if not len(hold.rows):
                return
            member.search(hold)


# AutoAttack's. Square costs most, and comes last.
QUERIES = 5000


def strong(norm: Norm) -> Cascade:
    """AutoAttack's members, in the order that is cheapest.

    In linf FAB adds little to targeted Auto-PGD: it comes after it and aims at the likeliest
    classes alone. In L2 it breaks what was trained to withstand linf, whose gradients vanish
    within the budget: there it comes first.
    """
    by_norm: dict[Norm, tuple[Search, ...]] = {
        "linf": (
            TargetedAutoPGD(norm),
            FastAdaptiveBoundary(norm, targets=3),
            LinfSquare(queries=QUERIES),
        ),
        "l2": (
            FastAdaptiveBoundary(norm),
            TargetedAutoPGD(norm),
            L2Square(queries=QUERIES),
        ),
    }
    return Cascade(norm, (CrossEntropyAutoPGD(norm), *by_norm[norm]))
