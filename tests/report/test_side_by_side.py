"""Evaluations in columns."""

from dataclasses import replace

from advdetect.metrics import wilson
from advdetect.report.html import to_html
from advdetect.report.report import ALL, KnowingRow
from advdetect.report.side_by_side import CLEAN, EVADED, FOUND, SAFE, lines, tell_side_by_side


def two(report):
    success = {key: wilson(9, 10) for key in ("0.01", "0.05", "0.5")}
    known = (KnowingRow(report.detector, ALL, "linf", 8 / 255, success),)
    other = replace(
        report,
        model="another",
        detection=tuple(row for row in report.detection if row.budget != "linf_fgsm 4/255"),
        knowing=known,
        versions={"torch": "2.4"},
        warnings=("beware",),
    )
    return {"first": report, "second": other}


def test_a_line_has_a_value_for_every_run(report):
    found = lines(two(report))
    assert all(len(line.values) == 2 for line in found)
    assert len({(line.part, line.name) for line in found}) == len(found)
    accuracy = next(line for line in found if (line.part, line.name) == (CLEAN, "right"))
    assert accuracy.values == (report.clean.accuracy,) * 2


def test_what_a_run_lacks_is_no_number(report):
    found = lines(two(report))
    missing = [line for line in found if line.part == FOUND and line.values[1] is None]
    assert [line.name for line in missing] == [
        "FGSM L\u221e 4/255",
        "FGSM L\u221e 4/255, left out of fitting",
    ]
    assert missing[0].values[0] == report.detected(report.detection[0])
    (evaded,) = (line for line in found if line.part == EVADED)
    assert evaded.values[0] is None
    assert evaded.values[1].value == 0.9


def test_without_guarded_accuracies_that_part_is_left_out(report):
    assert not [line for line in lines({"a": report, "b": report}) if line.part == SAFE]


def test_the_page_says_in_what_runs_differ(report):
    page = to_html(tell_side_by_side(two(report)))
    for text in ("another", "beware", "first", "second", "2.4", "evaluations side by side"):
        assert text in page
