"""What is told, from a full report and from the barest."""

from dataclasses import replace

from advdetect.metrics import NONE, Estimate, wilson
from advdetect.report import tables
from advdetect.report.blocks import Cell, Folded, Gallery, Points, Table, Text
from advdetect.report.report import FalseAlarms, KnowingRow
from advdetect.report.story import NOT_ADAPTIVE, tell
from advdetect.report.words import row_words

EVADED = {"0.01": wilson(190, 200), "0.05": wilson(180, 200), "0.5": wilson(100, 200)}


def table_of(blocks) -> Table:
    return next(block for block in blocks if isinstance(block, Table))


def section(story, title: str):
    return next(found for found in story.sections if found.title == title)


def test_parts_in_order(story):
    assert [part.title for part in story.sections] == [
        "Warnings",
        "What the guard finds",
        "Attacks it was not fitted on",
        "Noise, which should pass",
        "Clean images",
        "Pictures",
        "The classifier alone",
        "Where attacks show",
        "Other detectors on the same images",
        "Threat model, and what is not promised",
        "How to read it",
        "What was run",
    ]


def test_a_report_without_attacks_or_figures_is_told(bare):
    report, figures = bare
    found = tell(report, figures, ())
    assert [part.title for part in found.sections] == [
        "Warnings",
        "What the guard finds",
        "Clean images",
        "Threat model, and what is not promised",
        "How to read it",
        "What was run",
    ]
    assert found.headline.startswith("No attack fooled")


def test_tiles_are_the_figures_to_carry_away(story):
    labels = [tile.label for tile in story.tiles]
    assert labels == [
        "Flagged, on the worst attack",
        "Flagged, worst attack left out",
        "Flagged, harmless noise",
        "Flagged, clean images",
        "Right, clean images",
        "Images safe from all 16 attacks",
    ]
    assert story.tiles[3].value == "5.3 %"
    assert story.tiles[3].below == "nominal 5 %; a calibrated guard: 3.8 to 6.3 %"
    assert story.tiles[5].value == "87.8 %"


def test_warnings_are_shown_and_their_absence_is_said(story, report, figures):
    assert isinstance(section(story, "Warnings").blocks[0], Text)
    changed = tell(replace(report, warnings=("Beware.",)), figures, ())
    assert section(changed, "Warnings").blocks == (Points(("Beware.",), alert=True),)


def test_the_detection_table_marks_the_worst_attack(report):
    table = table_of(tables.detection(report))
    worst = report.worst()
    marked = [row for row in table.rows if row[0].tag == "worst"]
    assert [row[0].text for row in marked] == [row_words(worst)]
    rate = worst.detection_rate["0.05"]
    assert marked[0][4] == Cell(
        f"{100 * rate.value:.1f} %", f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %"
    )
    assert table.header == (
        "attack",
        "successes",
        "AUROC",
        "found at 1 %",
        "found at 5 %",
        "found at 10 %",
        "balanced accuracy",
    )


def test_a_guard_fitted_on_no_attack_says_so(report):
    rows = tuple(replace(row, fitted_on_it=False) for row in report.rows())
    changed = replace(report, detection=rows)
    caption = "The guard's detector, logistic, fitted on none of these attacks"
    assert table_of(tables.detection(changed)).caption == caption
    assert tables.left_out(changed) == ()


def test_fitted_and_left_out_stand_side_by_side(report):
    row = report.detection[0]
    rates = [
        dict.fromkeys(row.detection_rate, Estimate(v, v - 0.01, v + 0.01, 500)) for v in (0.9, 0.85)
    ]
    seen = replace(row, detection_rate=rates[0])
    unseen = replace(row, detection_rate=rates[1], fitted_on_it=False)
    table = table_of(tables.left_out(replace(report, detection=(seen, unseen))))
    assert [cell.text for cell in table.rows[0]][3:] == ["90.0 %", "85.0 %", "-5.0"]


def test_an_attack_without_success_leaves_its_cells_empty(report):
    row = replace(
        report.detection[0],
        auroc=NONE,
        balanced_accuracy=NONE,
        detection_rate=dict.fromkeys(("0.01", "0.05", "0.1"), NONE),
    )
    cells = table_of(tables.detection(replace(report, detection=(row,)))).rows[0]
    assert [cell.text for cell in cells[1:]] == ["0"] + ["\u2013"] * 5


def test_false_alarms_outside_are_marked(report):
    alarms = FalseAlarms(0.05, 0.07, 0.061, 0.08, 3000, 0.038, 0.063)
    changed = replace(report, clean=replace(report.clean, false_alarm_rates=(alarms,)))
    assert table_of(tables.clean(changed)).rows[0] == (
        Cell("5 %"),
        Cell("7.0 %", "6.1 to 8.0 %"),
        Cell("3.8 to 6.3 %"),
        Cell("no", tag="outside"),
    )


def test_noise_has_its_own_table(report):
    names = [row[0].text for row in table_of(tables.noise(report)).rows]
    assert names[0] == "uniform noise L\u221e 4/255"
    assert all("noise" in name for name in names)
    attacks = [row[0].text for row in table_of(tables.detection(report)).rows]
    assert not any("noise" in name for name in attacks)


def test_a_fixed_size_has_no_interval(report):
    rows = {row[0].text: row for row in table_of(tables.robustness(report)).rows}
    assert rows["PGD L\u221e 0.1"][4] == Cell("0.1")
    assert " to " in rows["DeepFool L2"][4].below


def test_other_detectors_are_compared_on_their_worst_attacks(report):
    blocks = tables.others(report)
    table = table_of(blocks)
    assert [row[0].text for row in table.rows] == ["logistic", "fiedler", "clean-only"]
    assert [cell.text for cell in table.rows[1][3:]] == ["\u2013", "\u2013"]
    worst = report.worst("clean-only")
    assert table.rows[2][2].text == f"{100 * worst.detection_rate['0.05'].value:.1f} %"
    folded = next(block for block in blocks if isinstance(block, Folded))
    assert [t.caption for t in folded.tables] == ["fiedler", "clean-only"]
    assert tables.others(replace(report, detection=report.rows())) == ()


def test_what_is_not_promised_depends_on_what_was_tried(story, report, figures):
    points = section(story, "Threat model, and what is not promised").blocks[1]
    assert NOT_ADAPTIVE in points.items
    row = KnowingRow(report.detector, "linf_joint_pgd", "linf", 8 / 255, EVADED)
    changed = tell(replace(report, knowing=(row,)), figures, ())
    points = section(changed, "Threat model, and what is not promised").blocks[1]
    assert NOT_ADAPTIVE not in points.items
    assert section(changed, "Attacks that know the guard")


def test_what_was_run_is_named(story):
    facts = dict(section(story, "What was run").blocks[0].items)
    assert facts["seed"] == "0"
    assert facts["guard, images"] == "reference 3500, fitting 1500, calibration 2000"
    assert facts["torch"] == "2.13.0"


def test_pictures_are_shown(story, figures):
    gallery = section(story, "Pictures").blocks[0]
    assert isinstance(gallery, Gallery)
    assert gallery.rows == figures.pictures
