"""Mistakes in asking for an attack that knows the guard."""

import pytest
import torch

from advdetect.attacks.knowing import evade_chunk
from advdetect.errors import InputError


def test_no_such_attack(known):
    with pytest.raises(InputError, match="no attack that knows the guard named 'linf_pgd', choose"):
        evade_chunk(known.guard, known.images, known.labels, "linf_pgd", (0.1,), seed=0)


@pytest.mark.parametrize(
    ("budgets", "told"),
    [((), "none"), ((0.0,), "0"), ((0.3, 0.1), "0.3, 0.1"), ((8 / 255,) * 2, "8/255, 8/255")],
)
def test_budgets_that_do_not_rise(known, budgets, told):
    with pytest.raises(InputError, match=f"expected budgets above 0 that rise, got {told}"):
        evade_chunk(known.guard, known.images, known.labels, "linf_joint_pgd", budgets, seed=0)


def test_labels_that_the_model_has_no_classes_for(known):
    with pytest.raises(InputError, match="labels must run from 0 to 1"):
        evade_chunk(
            known.guard,
            known.images,
            torch.full((8,), 2),
            "linf_joint_pgd",
            (0.1,),
            seed=0,
        )
