"""Attacks that know the guard, as tables and as a figure."""

from dataclasses import replace

import pytest

from advdetect.metrics import wilson
from advdetect.report.blocks import Folded, Table
from advdetect.report.knowing import knowing
from advdetect.report.plots.knowing import evasion
from advdetect.report.report import ALL, Convergence, KnowingRow

BUDGETS = (4 / 255, 8 / 255, 0.1)


@pytest.fixture
def known(report):
    rows = []
    for detector, weaker in ((report.detector, 0), ("energy", 100)):
        for i, eps in enumerate(BUDGETS):
            for attack, less in ((ALL, 0), ("linf_joint_pgd", 10), ("linf_guard_square", 400)):
                found = 500 + 200 * i + weaker - less
                success = {
                    "0.01": wilson(min(found + 50, 1000), 1000),
                    "0.05": wilson(found, 1000),
                    "0.5": wilson(found - 100, 1000),
                }
                rows.append(KnowingRow(detector, attack, "linf", eps, success))
    same = wilson(490, 1000)
    checks = (Convergence("linf_joint_pgd", "linf", 4 / 255, same, same, wilson(495, 1000)),)
    return replace(report, knowing=tuple(rows), convergence=checks)


def test_all_attacks_together_come_first(known):
    blocks = knowing(known)
    table = next(block for block in blocks if isinstance(block, Table))
    assert [row[0].text for row in table.rows] == ["L\u221e 4/255", "L\u221e 8/255", "L\u221e 0.1"]
    assert [row[3].text for row in table.rows] == ["50.0 %", "70.0 %", "90.0 %"]
    assert table.header == (
        "budget",
        "images",
        "evades at 1 %",
        "evades at 5 %",
        "evades at 50 %",
    )


def test_each_attack_and_its_convergence_are_folded_away(known):
    (folded,) = (block for block in knowing(known) if isinstance(block, Folded))
    each, converged = folded.tables
    assert len(each.rows) == 6  # of the guard's own detector
    assert each.rows[0][0].text == "joint PGD L\u221e 4/255"
    assert [cell.text for cell in converged.rows[0][1:]] == ["49.0 %", "49.0 %", "49.5 %", "yes"]


def test_other_detectors_stand_beside_the_guards(known):
    table = [block for block in knowing(known) if isinstance(block, Table)][-1]
    assert [row[0].text for row in table.rows] == [known.detector, "energy"]
    assert [cell.text for cell in table.rows[1][1:]] == ["60.0 %", "80.0 %", "100 %"]


def test_without_such_attacks_there_is_nothing(report):
    assert knowing(report) == ()
    assert evasion(report) == []


def test_the_figure_says_what_it_shows(known):
    (plot,) = evasion(known)
    assert plot.name == "evasion_linf"
    assert plot.title == "70.0 % of images get past classifier and guard at L\u221e 8/255"
    assert "1,000 images" in plot.caption
