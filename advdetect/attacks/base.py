"""What an attack is here, and with which budgets it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Norm = Literal["linf", "l2"]


@dataclass(frozen=True)
class Attack:
    """One line of the table of attacks.

    Args:
        norm: The norm that the attack keeps within eps, or makes small.
        family: Attacks of one family are left out of fitting together, at every eps.
        build: Makes the Foolbox attack; called late, so that tables are read without Foolbox.
        minimum_norm: It seeks the smallest perturbation; otherwise it needs an eps.
        control: Noise that no attacker chose: a detector should not fire on it.
        share: Share of the images it is run on; less than 1 where an image takes seconds.
        surrogate: It is made on another model, which whoever runs it must give.
        sizeless: It takes no eps and seeks nothing: the change is as large as it is.
        encoded: What it finds is stored as JPEG and read again, which may leave the ball.
    """

    norm: Norm
    family: str
    build: Callable[[], Any]
    minimum_norm: bool = False
    control: bool = False
    share: float = 1.0
    surrogate: bool = False
    sizeless: bool = False
    encoded: bool = False

    @property
    def takes_eps(self) -> bool:
        """Whether it cannot run without an eps."""
        return not (self.minimum_norm or self.sizeless)


@dataclass(frozen=True)
class Budget:
    """An attack's name and its eps in pixels of [0, 1]; ``None``: as small as it can."""

    attack: str
    eps: float | None = None

    def __str__(self) -> str:
        """For example ``linf_pgd 8/255``, ``l2_pgd 0.5`` or ``l2_deepfool``."""
        return self.attack if self.eps is None else f"{self.attack} {eps_text(self.eps)}"


def eps_text(eps: float) -> str:
    """Write an eps as n/255 where it is a whole number of grey levels and no round decimal."""
    levels = eps * 255
    whole = round(levels)
    round_decimal = len(f"{eps:g}") <= 3
    return (
        f"{whole}/255" if whole and abs(levels - whole) < 1e-6 and not round_decimal else f"{eps:g}"
    )
