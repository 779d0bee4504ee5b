"""Foolbox's attacks with settings that are strong for their price; the importer of Foolbox."""

import os
import warnings
from types import ModuleType
from typing import Any

from advdetect.attacks.base import Attack


def foolbox() -> ModuleType:
    """Import Foolbox late: it takes a second, wants a git binary and warns of its own age."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import foolbox

    return foolbox


def _linf_fgsm() -> Any:
    return foolbox().attacks.LinfFastGradientAttack()


def _linf_bim() -> Any:
    return foolbox().attacks.LinfBasicIterativeAttack(rel_stepsize=0.2, steps=10)


def _linf_pgd() -> Any:
    return foolbox().attacks.LinfProjectedGradientDescentAttack(rel_stepsize=0.1, steps=20)


def _l2_pgd() -> Any:
    return foolbox().attacks.L2ProjectedGradientDescentAttack(rel_stepsize=0.1, steps=20)


def _l2_deepfool() -> Any:
    # The runner-up nearly always wins, and every further class costs a backward pass a step.
    foolbox()
    from advdetect.attacks.deep_fool import L2DeepFool

    return L2DeepFool(steps=20, candidates=4)


def _l2_carlini_wagner() -> Any:
    # The default constant of 1e-3 with few steps leaves perturbations ten times too large.
    foolbox()
    from advdetect.attacks.minimum_norm import HonestCarliniWagner

    return HonestCarliniWagner(binary_search_steps=6, steps=100, stepsize=0.05, initial_const=0.5)


def _linf_fmn() -> Any:
    foolbox()
    from advdetect.attacks.fast_minimum_norm import FastMinimumNorm

    return FastMinimumNorm("linf", steps=40, max_stepsize=0.3)


def _l2_fmn() -> Any:
    # The default first step of 1 overshoots where the boundary is 0.2 away.
    foolbox()
    from advdetect.attacks.fast_minimum_norm import FastMinimumNorm

    return FastMinimumNorm("l2", steps=50, max_stepsize=0.1)


def _l2_hop_skip_jump() -> Any:
    foolbox()
    from advdetect.attacks.decision import NearestStartHopSkipJump

    return NearestStartHopSkipJump(
        steps=10, initial_gradient_eval_steps=50, max_gradient_eval_steps=150
    )


def _linf_uniform_noise() -> Any:
    return foolbox().attacks.LinfAdditiveUniformNoiseAttack()


def _l2_gaussian_noise() -> Any:
    return foolbox().attacks.L2ClippingAwareAdditiveGaussianNoiseAttack()


FOOLBOX_ATTACKS = {
    "linf_fgsm": Attack("linf", "fgsm", _linf_fgsm),
    "linf_bim": Attack("linf", "pgd", _linf_bim),
    "linf_pgd": Attack("linf", "pgd", _linf_pgd),
    "l2_pgd": Attack("l2", "pgd", _l2_pgd),
    "l2_deepfool": Attack("l2", "deepfool", _l2_deepfool, minimum_norm=True),
    "l2_carlini_wagner": Attack(
        "l2", "carlini_wagner", _l2_carlini_wagner, minimum_norm=True, share=0.45
    ),
    "linf_fmn": Attack("linf", "fmn", _linf_fmn, minimum_norm=True),
    "l2_fmn": Attack("l2", "fmn", _l2_fmn, minimum_norm=True),
    "l2_hop_skip_jump": Attack("l2", "decision", _l2_hop_skip_jump, minimum_norm=True, share=0.45),
    "linf_uniform_noise": Attack("linf", "noise", _linf_uniform_noise, control=True),
    "l2_gaussian_noise": Attack("l2", "noise", _l2_gaussian_noise, control=True),
    # Encoded, it may succeed no more; what does is no longer told by not having been a JPEG.
    "linf_pgd_jpeg": Attack("linf", "pgd", _linf_pgd, encoded=True),
}
