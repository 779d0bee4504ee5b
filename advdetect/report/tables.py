"""The tables of a report, each with the sentence it needs; empty where there are no rows."""

from advdetect.metrics import Estimate
from advdetect.report.blocks import Block, Cell, Folded, Table, Text
from advdetect.report.report import DetectionRow, Report
from advdetect.report.words import (
    attack_words,
    count,
    decimal,
    nominal,
    percent,
    percent_range,
    row_words,
    share,
    share_range,
)


def detection(report: Report) -> tuple[Block, ...]:
    """By attack: successes, area, detection rates, balanced accuracy."""
    rows = report.rows()
    if not rows:
        return ()
    fitted = any(row.fitted_on_it for row in rows)
    how = "" if fitted else ", fitted on none of these attacks"
    caption = f"The guard's detector, {report.detector}{how}"
    return (_detection_table(caption, rows, report.worst()),)


def left_out(report: Report) -> tuple[Block, ...]:
    """Fitted against left out, side by side."""
    pairs = report.pairs()
    if not pairs:
        return ()
    worst = report.worst(left_out=True)
    at = nominal(report.false_alarm_rate)
    rows = []
    for seen, new in pairs:
        a, b = report.detected(seen), report.detected(new)
        change = "" if a.value is None or b.value is None else f"{100 * (b.value - a.value):+.1f}"
        rows.append(
            (
                _name(new, worst),
                _area(seen.auroc),
                _area(new.auroc),
                _share(a),
                _share(b),
                Cell(change),
            )
        )
    header = ("attack", "AUROC", "left out", f"found at {at}", "left out", "points")
    return (
        Text(
            "Each attack again, by a detector fitted without it and all its kin at every eps: "
            "what to expect of an attack that nobody has thought of yet."
        ),
        Table("Fitted on the attack, and with its whole kind left out", header, tuple(rows)),
    )


def noise(report: Report) -> tuple[Block, ...]:
    """Noise of an attack's norm: flagged as often as clean images, at best."""
    rows = report.rows(control=True)
    if not rows:
        return ()
    keys = list(rows[0].detection_rate)
    header = ("noise", "images", "AUROC", *(f"flagged at {nominal(key)}" for key in keys))
    body = tuple(
        (
            Cell(row_words(row)),
            Cell(count(report.detected(row).n)),
            _area(row.auroc),
            *(_share(row.detection_rate[key]) for key in keys),
        )
        for row in rows
    )
    return (
        Text(
            "A detector that fires on harmless noise detects noise. Counted are images whose "
            "prediction the noise leaves right; the nominal rate would be ideal."
        ),
        Table("Images with noise of the attacks' size", header, body),
    )


def clean(report: Report) -> tuple[Block, ...]:
    """False alarms, beside what a calibrated guard gives."""
    facts = report.clean
    body = tuple(
        (
            Cell(nominal(row.nominal)),
            Cell(percent(row.value), percent_range(row.low, row.high)),
            Cell(percent_range(row.expected_low, row.expected_high)),
            Cell("yes" if row.as_expected else "no", tag="" if row.as_expected else "outside"),
        )
        for row in facts.false_alarm_rates
    )
    header = ("nominal rate", "clean images flagged", "range of a calibrated guard", "inside")
    return (
        Text(
            f"The classifier is right on {share(facts.accuracy)} of {count(facts.accuracy.n)} "
            f"clean images, and on {share(facts.accuracy_after_rejection)} of the "
            f"{count(facts.accuracy_after_rejection.n)} that the guard lets pass."
        ),
        Table(f"False alarms among {count(facts.n)} clean images", header, body),
    )


def robustness(report: Report) -> tuple[Block, ...]:
    """What attacks do to the classifier, noise last."""
    ordered = sorted(report.robustness, key=lambda row: row.control)
    body = tuple(
        (
            Cell(row_words(row)),
            Cell(count(row.robust_accuracy.n)),
            _share(row.robust_accuracy),
            _share(row.success_rate),
            _length(row.median_perturbation),
            _share(row.guarded_accuracy),
        )
        for row in ordered
    )
    header = ("attack", "images", "robust accuracy", "succeeds", "median size", "right or flagged")
    blocks: list[Block] = []
    worst = report.worst_case
    if worst is not None:
        blocks.append(
            Text(
                f"Of {count(worst.robust_accuracy.n)} images, {share(worst.robust_accuracy)} are "
                f"left right by all {worst.attacks} attacks; for {share(worst.guarded_accuracy)} "
                "no attack both fools the model and passes the guard."
            )
        )
    if body:
        blocks.append(Table("The classifier under attack, without the guard", header, body))
    return tuple(blocks)


def cuts(report: Report) -> tuple[Block, ...]:
    """Fiedler cuts of clean against attacked inputs."""
    if not report.cuts:
        return ()
    body = tuple(
        (
            Cell(attack_words(row.attack, row.eps)),
            Cell(count(row.accuracy.n)),
            Cell(percent(row.accuracy.value)),
            Cell(share_range(row.accuracy)),
        )
        for row in report.cuts
    )
    header = ("attack", "classes", "on their side", "95 % interval")
    return (
        Text(
            "As many clean as attacked images of one predicted class, cut in two where their graph "
            "is thinnest; no label is used. Means over predicted classes."
        ),
        Table("Fiedler cut of clean against attacked images", header, body),
    )


def others(report: Report) -> tuple[Block, ...]:
    """Every detector's worst attack, and its rows in full."""
    if len(report.detectors) < 2:
        return ()
    body = []
    for detector in report.detectors:
        cells = [Cell(detector, tag="the guard's" if detector == report.detector else "")]
        for left in (False, True):
            least = report.worst(detector, left_out=left)
            area = report.worst_by_auroc(detector, left_out=left)
            if least is None or area is None:
                cells += [Cell("\u2013"), Cell("\u2013")]
                continue
            cells.append(Cell(decimal(area.auroc.value), row_words(area)))
            cells.append(Cell(percent(report.detected(least).value), row_words(least)))
        body.append(tuple(cells))
    at = f"found at {nominal(report.false_alarm_rate)}"
    header = ("detector", "AUROC", at, "AUROC, left out", f"{at}, left out")
    full = [
        _detection_table(
            f"{detector}, attacks left out of fitting" if left else detector,
            report.rows(detector, left_out=left),
            report.worst(detector, left_out=left),
        )
        for detector in report.detectors[1:]
        for left in (False, True)
        if report.rows(detector) and (not left or report.pairs(detector))
    ]
    return (
        Text("Fitted and calibrated on the same images as the guard; each on its worst attack."),
        Table("Each detector on its worst attack", header, tuple(body)),
        Folded("Every attack, by detector", tuple(full)),
    )


def _detection_table(
    caption: str, rows: tuple[DetectionRow, ...], worst: DetectionRow | None
) -> Table:
    keys = list(rows[0].detection_rate)
    header = (
        "attack",
        "successes",
        "AUROC",
        *(f"found at {nominal(key)}" for key in keys),
        "balanced accuracy",
    )
    body = tuple(
        (
            _name(row, worst),
            Cell(count(row.auroc.n)),
            _area(row.auroc),
            *(_share(row.detection_rate[key]) for key in keys),
            _share(row.balanced_accuracy),
        )
        for row in rows
    )
    return Table(caption, header, body)


def _name(row: DetectionRow, worst: DetectionRow | None) -> Cell:
    return Cell(row_words(row), tag="worst" if row == worst else "")


def _share(estimate: Estimate) -> Cell:
    if estimate.value is None:
        return Cell("\u2013")
    return Cell(percent(estimate.value), share_range(estimate))


def _area(estimate: Estimate) -> Cell:
    if estimate.value is None:
        return Cell("\u2013")
    return Cell(decimal(estimate.value), f"{decimal(estimate.low)} to {decimal(estimate.high)}")


def _length(estimate: Estimate) -> Cell:
    if estimate.value is None:
        return Cell("\u2013")
    low, high = f"{estimate.low:.3g}", f"{estimate.high:.3g}"
    return Cell(f"{estimate.value:.3g}", "" if low == high else f"{low} to {high}")
