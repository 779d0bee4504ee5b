"""Attacks and suites by name."""

from collections.abc import Mapping

from advdetect.attacks.base import Attack, Budget
from advdetect.attacks.changes import CHANGES
from advdetect.attacks.foolbox_attacks import FOOLBOX_ATTACKS
from advdetect.attacks.strong_attacks import STRONG_ATTACKS

ATTACKS: Mapping[str, Attack] = {**FOOLBOX_ATTACKS, **STRONG_ATTACKS, **CHANGES}

_LINF_EPS = (4 / 255, 8 / 255, 0.1)
_L2_EPS = (0.5, 1.5)
_ENSEMBLE_EPS = (4 / 255, 8 / 255, 0.04, 0.1)

_GRADIENT = (
    *(Budget("linf_fgsm", eps) for eps in _LINF_EPS),
    *(Budget("linf_bim", eps) for eps in _LINF_EPS),
    *(Budget("linf_pgd", eps) for eps in _LINF_EPS),
    *(Budget("l2_pgd", eps) for eps in _L2_EPS),
    Budget("l2_deepfool"),
    Budget("l2_carlini_wagner"),
    Budget("linf_fmn"),
    Budget("l2_fmn"),
)

# Natural pictures fall to smaller perturbations.
_FINE_EPS = (2 / 255, 4 / 255, 8 / 255)

_FINE = (
    *(Budget("linf_fgsm", eps) for eps in _FINE_EPS),
    *(Budget("linf_pgd", eps) for eps in _FINE_EPS),
    Budget("l2_pgd", 0.5),
    Budget("l2_deepfool"),
    Budget("l2_carlini_wagner"),
    Budget("linf_fmn"),
    Budget("l2_fmn"),
)

_FINE_FULL = (
    *_FINE,
    # Both stop where they first succeed, which is often after one large step or square.
    Budget("linf_square", 8 / 255),
    Budget("linf_strong", 8 / 255),
    # Stored, attacked pictures lose the finest of their detail.
    *(Budget("linf_pgd_jpeg", eps) for eps in _FINE_EPS),
)

SUITES: Mapping[str, tuple[Budget, ...]] = {
    # Seconds for a few hundred small images.
    "quick": (
        Budget("linf_fgsm", 8 / 255),
        Budget("linf_pgd", 8 / 255),
        Budget("linf_fmn"),
        Budget("linf_uniform_noise", 8 / 255),
    ),
    # What a guard learns from: no noise, and no decision-based attack, which costs the most.
    "fitting": _GRADIENT,
    "standard": (
        *_GRADIENT,
        Budget("l2_hop_skip_jump"),
        *(Budget("linf_uniform_noise", eps) for eps in _LINF_EPS),
        *(Budget("l2_gaussian_noise", eps) for eps in _L2_EPS),
    ),
    # For natural pictures: what a guard learns from, less or more of it; the searches last long
    # where the model is robust ...
    "fine-fitting": _FINE,
    "fine-fitting-full": _FINE_FULL,
    # ... and what it is judged by: beside noise of the same norms, changes that no attacker made,
    # for a detector may have learnt no more than that a picture is not what a camera stored.
    "fine": (
        *_FINE_FULL,
        *(Budget("linf_uniform_noise", eps) for eps in _FINE_EPS),
        Budget("l2_gaussian_noise", 0.5),
        *map(Budget, CHANGES),
    ),
    # How far a model holds against the best of what knows no guard.
    "strong": (
        *(Budget("linf_strong", eps) for eps in _LINF_EPS[1:]),
        *(Budget("l2_strong", eps) for eps in _L2_EPS),
        Budget("l2_hop_skip_jump"),
        *(Budget("linf_transfer", eps) for eps in _LINF_EPS[1:]),
    ),
    # Crafted on one member of an ensemble, tried on the others.
    "members": (
        *(Budget("linf_fgsm", eps) for eps in _ENSEMBLE_EPS),
        *(Budget("linf_pgd", eps) for eps in _ENSEMBLE_EPS),
    ),
    # Beside these, on the average of all members.
    "ensemble": (
        *(Budget("linf_pgd", eps) for eps in _ENSEMBLE_EPS),
        *(Budget("linf_reweighted", eps) for eps in _ENSEMBLE_EPS),
        *(Budget("linf_strong", eps) for eps in _LINF_EPS[1:]),
    ),
}
