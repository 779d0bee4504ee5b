"""report.json: what it holds, and that it can be read again."""

import json
from dataclasses import replace

import pytest

from advdetect.errors import FileError
from advdetect.metrics import NONE, Estimate, wilson
from advdetect.report import Report
from advdetect.report.plain import to_plain
from advdetect.report.report import ALL, FalseAlarms, KnowingRow


def test_the_file_holds_what_others_rely_on(report):
    found = report.to_json()
    assert found["schema"] == 1
    assert (found["model"], found["data"]) == ("fashion-resnet", "fashion-mnist")
    assert (found["split"], found["seed"]) == ("evaluation", 0)
    assert list(found["clean"]) == [
        "n",
        "accuracy",
        "accuracy_after_rejection",
        "false_alarm_rates",
    ]
    measured = {"value", "low", "high", "n"}
    assert set(found["clean"]["accuracy"]) == measured
    assert {"nominal", *measured} <= set(found["clean"]["false_alarm_rates"][0])
    line = found["robustness"][0]
    assert (line["attack"], line["norm"], line["eps"]) == ("linf_fgsm", "linf", 0.0156862745)
    for name in ("robust_accuracy", "success_rate", "median_perturbation"):
        assert set(line[name]) == measured
    row = found["detection"][0]
    kinds = ("detector", "attack", "norm", "eps", "control", "fitted_on_it")
    assert [row[name] for name in kinds] == [
        "logistic",
        "linf_fgsm",
        "linf",
        0.0156862745,
        False,
        True,
    ]
    assert list(row["detection_rate"]) == ["0.01", "0.05", "0.1"]
    assert set(row["auroc"]) == set(row["balanced_accuracy"]) == measured
    assert found["warnings"] == []


def test_reading_gives_the_same_file_again(report, tmp_path):
    text = json.dumps(report.to_json(), allow_nan=False)
    (tmp_path / "report.json").write_text(text)
    again = Report.load(tmp_path / "report.json")
    assert json.dumps(again.to_json()) == text
    assert again.detection[0].budget == report.detection[0].budget == "linf_fgsm 4/255"
    assert isinstance(again.clean.false_alarm_rates[0], FalseAlarms)
    assert again == Report.from_json(again.to_json())


def test_an_attack_without_success_is_null_in_the_file(report):
    row = replace(report.detection[0], auroc=NONE)
    found = replace(report, detection=(row,)).to_json()
    assert found["detection"][0]["auroc"] == {"value": None, "low": None, "high": None, "n": 0}
    assert Report.from_json(found).detection[0].auroc == NONE


def test_what_a_file_lacks_takes_its_default(report):
    content = report.to_json()
    for name in ("layers", "cuts", "class_cuts", "worst_case", "versions", "threat_model"):
        del content[name]
    found = Report.from_json(content)
    assert found.layers == ()
    assert found.worst_case is None
    assert "does not know that a guard" in found.threat_model


def test_sums_in_another_order_write_the_same_file():
    assert to_plain(0.1 + 0.2) == to_plain(0.3) == 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"schema": 2}, "of schema 2, this version reads 1"),
        (lambda c: {k: c[k] for k in c if k != "schema"}, "of schema None"),
        (lambda _: [], "of schema None"),
        (lambda c: {k: c[k] for k in c if k != "clean"}, "no complete report: KeyError 'clean'"),
        (lambda c: c | {"robustness": 3}, "no complete report: TypeError"),
    ],
)
def test_says_what_is_wrong(report, change, message):
    with pytest.raises(FileError, match=message):
        Report.from_json(change(report.to_json()))


def shaped(row, value: float, **changes):
    """The row with all its rates at one value."""
    rates = dict.fromkeys(row.detection_rate, Estimate(value, value, value, 100))
    return replace(row, detection_rate=rates, auroc=Estimate(value, value, value, 100), **changes)


def small(report, *rows):
    return replace(report, detection=rows)


def test_the_worst_attack_is_no_noise_and_has_examples(report):
    first = report.detection[0]
    found = small(
        report,
        shaped(first, 0.9, attack="linf_pgd"),
        shaped(first, 0.8, attack="linf_bim"),
        shaped(first, 0.1, attack="linf_uniform_noise", control=True),
        shaped(first, 0.2, attack="linf_bim", fitted_on_it=False),
        replace(shaped(first, 0.0, attack="linf_fmn"), detection_rate={"0.05": NONE}, auroc=NONE),
    )
    assert found.worst().attack == "linf_bim"
    assert found.detected(found.worst()).value == 0.8
    assert found.detected(found.worst(left_out=True)).value == 0.2
    assert found.worst_by_auroc().attack == "linf_bim"
    assert found.worst("fiedler") is None
    assert found.worst_by_auroc("fiedler") is None
    assert [seen.auroc.value for seen, _ in found.pairs()] == [0.8]
    line = found.to_json()["worst"]
    assert [(w["left_out"], w["detection_rate"]["value"]) for w in line] == [
        (False, 0.8),
        (True, 0.2),
    ]


def test_a_guard_as_it_was_fitted_covers_attacks_that_it_was_not_fitted_on(report):
    # Fitted on PGD alone: FGSM has one row, unfitted, and PGD two.
    first = report.detection[0]
    found = small(
        report,
        shaped(first, 0.9, attack="linf_pgd"),
        shaped(first, 0.5, attack="linf_fgsm", fitted_on_it=False),
        shaped(first, 0.7, attack="linf_pgd", fitted_on_it=False),
    )
    assert [(r.attack, r.fitted_on_it) for r in found.rows()] == [
        ("linf_pgd", True),
        ("linf_fgsm", False),
    ]
    assert [r.attack for r in found.rows(left_out=True)] == ["linf_fgsm", "linf_pgd"]
    assert found.worst().attack == "linf_fgsm"
    assert len(found.pairs()) == 1


def test_attacks_that_know_the_guard_are_ordered_by_budget(report):
    def row(attack, eps, share, detector=report.detector, norm="linf"):
        success = {key: wilson(round(100 * share), 100) for key in ("0.01", "0.05", "0.5")}
        return KnowingRow(detector, attack, norm, eps, success)

    rows = (
        row("linf_joint_pgd", 0.1, 0.8),
        row(ALL, 0.1, 0.9),
        row(ALL, 8 / 255, 0.5),
        row(ALL, 0.5, 0.7, norm="l2"),
        row(ALL, 8 / 255, 0.2, detector="fiedler"),
    )
    found = replace(report, knowing=rows)
    assert found.evasion() == (rows[2], rows[1], rows[3])
    assert found.evasion("fiedler") == (rows[4],)
    assert found.evasion_at_a_small_budget() == rows[2]
    assert found.evaded(rows[1]).value == 0.9
    assert replace(report, knowing=rows[:1]).evasion() == rows[:1]
    assert report.evasion_at_a_small_budget() is None


def test_noise_is_loud_beyond_three_times_the_nominal_rate(report):
    noise = replace(report.detection[0], control=True, attack="linf_uniform_noise")
    assert small(report, shaped(noise, 0.15)).loudest_noise() is None
    assert small(report, shaped(noise, 0.16)).loudest_noise().attack == "linf_uniform_noise"
    assert small(report).loudest_noise() is None


def test_the_guards_rate_is_used_where_rows_know_it(report):
    assert report.false_alarm_rate == 0.05
    assert replace(report, guard={"false_alarm_rate": 0.1}).false_alarm_rate == 0.1
    assert replace(report, guard={"false_alarm_rate": 0.02}).false_alarm_rate == 0.05
    assert replace(report, guard={}).detector == "logistic"


@pytest.mark.parametrize(("value", "inside"), [(0.03, False), (0.05, True), (0.07, False)])
def test_a_false_alarm_rate_as_expected(value, inside):
    row = FalseAlarms(0.05, value, 0.0, 0.1, 3000, 0.038, 0.063)
    assert row.as_expected is inside
