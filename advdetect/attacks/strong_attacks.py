"""The attacks of our own that know no guard, with their settings; Foolbox is their base."""

from collections.abc import Callable
from typing import Any

from advdetect.attacks.base import Attack, Norm
from advdetect.attacks.foolbox_attacks import foolbox


def _apgd_ce(norm: Norm) -> Any:
    foolbox()
    from advdetect.attacks.auto_pgd import CrossEntropyAutoPGD

    return CrossEntropyAutoPGD(norm)


def _apgd_targeted(norm: Norm) -> Any:
    foolbox()
    from advdetect.attacks.auto_pgd import TargetedAutoPGD

    return TargetedAutoPGD(norm)


def _fab(norm: Norm) -> Any:
    foolbox()
    from advdetect.attacks.fast_adaptive_boundary import FastAdaptiveBoundary

    return FastAdaptiveBoundary(norm)


def _square(norm: Norm) -> Any:
    foolbox()
    from advdetect.attacks.square import L2Square, LinfSquare

    return LinfSquare() if norm == "linf" else L2Square()


def _strong(norm: Norm) -> Any:
    foolbox()
    from advdetect.attacks.strong import strong

    return strong(norm)


def _transfer(norm: Norm) -> Any:
    foolbox()
    from advdetect.attacks.transfer import Transfer

    return Transfer(norm)


def _reweighted(norm: Norm) -> Any:
    foolbox()
    from advdetect.attacks.reweighted import Reweighted

    return Reweighted(norm)


def _line(
    norm: Norm, family: str, build: Callable[[Norm], Any], *, surrogate: bool = False
) -> Attack:
    return Attack(norm, family, lambda: build(norm), surrogate=surrogate)


def _by_norm(norm: Norm) -> dict[str, Attack]:
    return {
        f"{norm}_apgd_ce": _line(norm, "pgd", _apgd_ce),
        f"{norm}_apgd_targeted": _line(norm, "pgd", _apgd_targeted),
        f"{norm}_fab": _line(norm, "fab", _fab),
        f"{norm}_square": _line(norm, "square", _square),
        f"{norm}_strong": _line(norm, "pgd", _strong),
        f"{norm}_reweighted": _line(norm, "pgd", _reweighted),
        # Made as Auto-PGD makes them: who fits on one should not be tested on the other.
        f"{norm}_transfer": _line(norm, "pgd", _transfer, surrogate=True),
    }


STRONG_ATTACKS = {**_by_norm("linf"), **_by_norm("l2")}
