"""What a report says of an ensemble's members."""

from dataclasses import replace

import pytest

from advdetect.metrics import rate
from advdetect.report.blocks import Folded, Table
from advdetect.report.members import members
from advdetect.report.plots.members import members as draw_members
from advdetect.report.report import SimilarityRow, TransferRow


def row(source, target, right, attack="linf_pgd", eps=0.1):
    hits = [True] * right + [False] * (4 - right)
    norm, eps = ("", None) if attack == "clean" else ("linf", eps)
    return TransferRow(source, target, attack, norm, eps, rate(hits))


NAMES = ("member-0", "member-1", "average")
ROWS = (
    *(row("clean", target, 4, "clean") for target in NAMES),
    *(row(s, t, 1 if s == t else 3) for s in NAMES for t in NAMES),
    *(row("average", t, 0, "linf_reweighted") for t in NAMES),
    *(row("member-0", t, 2, "linf_fgsm") for t in NAMES),
)
LIKENESS = SimilarityRow(0, 1, "relu", 500, {"unbiased_linear_cka": 0.25, "other": 0.5})


@pytest.fixture
def tables(report):
    blocks = members(replace(report, transfer=ROWS, similarity=(LIKENESS,)))
    found = {}
    for block in blocks:
        for table in block.tables if isinstance(block, Folded) else (block,):
            if isinstance(table, Table):
                found[table.caption] = [[cell.text for cell in row] for row in table.rows]
    return found


def test_a_matrix_for_each_budget(tables):
    assert tables["Right under PGD L\u221e 0.1"] == [
        ["member 0", "25.0 %", "75.0 %", "75.0 %"],
        ["member 1", "75.0 %", "25.0 %", "75.0 %"],
        ["average", "75.0 %", "75.0 %", "25.0 %"],
    ]
    assert tables["Clean accuracy, on all images"] == [["right", "100 %", "100 %", "100 %"]]
    assert tables["Right under FGSM L\u221e 0.1"] == [["member 0", "50.0 %", "50.0 %", "50.0 %"]]


def test_what_is_crafted_on_the_average_stands_together(tables):
    assert tables["Crafted on the average, with full knowledge"] == [
        ["PGD L\u221e 0.1", "75.0 %", "75.0 %", "25.0 %"],
        ["re-weighted members L\u221e 0.1", "0 %", "0 %", "0 %"],
    ]


def test_likeness_by_layer(tables):
    caption = "How alike members represent 500 clean images, layer by layer"
    assert tables[caption] == [["0 and 1: relu", "0.250", "0.500"]]


def test_a_single_network_has_no_members(report):
    assert members(report) == ()


def test_the_figure_says_what_holds_least(report):
    plot = draw_members(replace(report, transfer=ROWS))
    assert plot.title == "The average is right on 0 % under re-weighted members L\u221e 0.1"
    assert "n = 4" in plot.caption
    assert "PGD L\u221e on a member" in plot.svg
    assert draw_members(report) is None
