"""Budgets as text."""

import pytest

from advdetect.attacks import Budget
from advdetect.attacks.base import eps_text


@pytest.mark.parametrize(
    ("eps", "text"),
    [(8 / 255, "8/255"), (1.0, "1"), (0.1, "0.1"), (0.5, "0.5"), (0.0, "0"), (1e-9, "1e-09")],
)
def test_whole_grey_levels_are_written_as_such(eps, text):
    assert eps_text(eps) == text


def test_a_budget_as_text():
    assert str(Budget("linf_pgd", 4 / 255)) == "linf_pgd 4/255"
    assert str(Budget("l2_pgd", 1.5)) == "l2_pgd 1.5"
    assert str(Budget("l2_deepfool")) == "l2_deepfool"


def test_equal_budgets_are_one_key():
    assert len({Budget("a", 0.1), Budget("a", 0.1), Budget("a"), Budget("b", 0.1)}) == 3
