"""Attacks that know the guard, as tables."""

from advdetect.report.blocks import Block, Cell, Folded, Table, Text
from advdetect.report.report import ALL, CONVERGED, KnowingRow, Report
from advdetect.report.words import attack_words, count, nominal, percent, share_range


def knowing(report: Report) -> tuple[Block, ...]:
    """Success by budget, then every attack, other guards, and whether more effort finds more."""
    together = report.evasion()
    if not together:
        return ()
    keys = list(together[0].success)
    header = ("budget", "images", *(f"evades at {nominal(key)}" for key in keys))
    blocks: list[Block] = [
        Text(
            "The attacker knows everything: the classifier, the features, the detector and its "
            "calibration. Counted are images that the classifier gets right; the attacker "
            "succeeds where the image ends misclassified and not flagged. Gradients go through a "
            "smooth stand-in for the guard, success is judged by the guard itself. Each image "
            "counts as lost if any of the attacks gets it past the guard."
        ),
        Table(
            f"All knowing attacks together, against the {report.detector} detector",
            header,
            tuple(_line(row, attack_words(row.norm + "_", row.eps).strip()) for row in together),
        ),
    ]
    each = [row for row in report.knowing if row.attack != ALL]
    by_attack = tuple(
        _line(row, attack_words(row.attack, row.eps))
        for row in each
        if row.detector == report.detector
    )
    tables = [Table("Each attack by itself", ("attack", *header[1:]), by_attack)]
    if report.convergence:
        tables.append(_convergence(report))
    blocks.append(Folded("Every knowing attack, and whether more effort finds more", tuple(tables)))
    return (*blocks, *_others(report))


def _line(row: KnowingRow, name: str) -> tuple[Cell, ...]:
    rates = tuple(row.success.values())
    return (
        Cell(name),
        Cell(count(rates[0].n)),
        *(Cell(percent(e.value), share_range(e)) for e in rates),
    )


def _convergence(report: Report) -> Table:
    body = tuple(
        (
            Cell(attack_words(row.attack, row.eps)),
            *(
                Cell(percent(e.value))
                for e in (row.success, row.twice_the_steps, row.twice_the_restarts)
            ),
            Cell("yes" if row.change < CONVERGED else "no"),
        )
        for row in report.convergence
    )
    at = nominal(report.false_alarm_rate)
    header = ("attack", f"evades at {at}", "twice the steps", "twice the restarts", "converged")
    return Table("Would more effort find more?", header, body)


def _others(report: Report) -> tuple[Block, ...]:
    """Guards of other detectors, each attacked knowingly by itself."""
    detectors = list(dict.fromkeys(row.detector for row in report.knowing))
    if len(detectors) < 2:
        return ()
    budgets = [(row.norm, row.eps) for row in report.evasion()]
    body = []
    for detector in sorted(detectors, key=lambda name: name != report.detector):
        found = {(row.norm, row.eps): row for row in report.evasion(detector)}
        cells = [Cell(detector, tag="the guard's" if detector == report.detector else "")]
        for budget in budgets:
            row = found.get(budget)
            estimate = None if row is None else report.evaded(row)
            cells.append(
                Cell("\u2013")
                if estimate is None
                else Cell(percent(estimate.value), share_range(estimate))
            )
        body.append(tuple(cells))
    header = ("detector", *(attack_words(norm + "_", eps).strip() for norm, eps in budgets))
    at = nominal(report.false_alarm_rate)
    return (
        Table(
            f"Every detector, attacked by someone who knows it: evades at {at}", header, tuple(body)
        ),
    )
