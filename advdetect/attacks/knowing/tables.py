"""Attacks that know the guard, by name, and the suite that ``--adaptive`` runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from advdetect.attacks.base import Norm
from advdetect.attacks.knowing.decisions import GuardBoundary
from advdetect.attacks.knowing.evasion import Evasion
from advdetect.attacks.knowing.joint import JointPGD
from advdetect.attacks.knowing.matching import MatchingPGD
from advdetect.attacks.knowing.orthogonal import OrthogonalPGD
from advdetect.attacks.knowing.selective import SelectivePGD
from advdetect.attacks.knowing.squares import GuardSquare


@dataclass(frozen=True)
class Effort:
    """How many times the usual steps and restarts an attack takes."""

    steps: int = 1
    restarts: int = 1


@dataclass(frozen=True)
class Knowing:
    """One line of the table of attacks that know the guard.

    Args:
        norm: The norm that the attack keeps within eps.
        build: Makes the attack.
        gradients: It follows gradients, of the guard's smooth stand-in; others only ask.
        share: Share of the images that it is run on; less than 1 where an image takes seconds.
    """

    norm: Norm
    build: Callable[[Effort], Evasion]
    gradients: bool = True
    share: float = 1.0


def _by_norm(norm: Norm) -> dict[str, Knowing]:
    return {
        f"{norm}_selective_pgd": Knowing(
            norm, lambda e: SelectivePGD(norm, steps=100 * e.steps, restarts=2 * e.restarts)
        ),
        f"{norm}_orthogonal_pgd": Knowing(
            norm, lambda e: OrthogonalPGD(norm, steps=100 * e.steps, restarts=2 * e.restarts)
        ),
        f"{norm}_joint_pgd": Knowing(
            norm,
            lambda e: JointPGD(norm, weights=(0.2, 0.8) * e.restarts, steps=100 * e.steps),
        ),
        f"{norm}_feature_matching": Knowing(
            norm, lambda e: MatchingPGD(norm, "rows", steps=50 * e.steps, restarts=2 * e.restarts)
        ),
        f"{norm}_bit_matching": Knowing(
            norm, lambda e: MatchingPGD(norm, "bits", steps=50 * e.steps, restarts=2 * e.restarts)
        ),
        f"{norm}_guard_boundary": Knowing(
            norm, lambda e: GuardBoundary(norm, steps=12 * e.steps), gradients=False, share=0.25
        ),
    }


KNOWING: Mapping[str, Knowing] = {
    **_by_norm("linf"),
    "linf_guard_square": Knowing(
        "linf",
        lambda e: GuardSquare(queries=500 * e.steps * e.restarts),
        gradients=False,
        share=0.25,
    ),
    **_by_norm("l2"),
}

# Up to where a picture may become any other.
EPS: Mapping[Norm, tuple[float, ...]] = {
    "linf": (4 / 255, 8 / 255, 0.1, 0.2, 0.4, 1.0),
    "l2": (0.5, 1.0, 2.0, 4.0, 8.0, 28.0),
}

ADAPTIVE: tuple[str, ...] = tuple(name for name in KNOWING if name.startswith("linf"))
