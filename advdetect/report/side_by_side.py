"""Several evaluations in columns beside each other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from advdetect.metrics import Estimate
from advdetect.report.blocks import Cell, Section, Story, Table, Terms, Text
from advdetect.report.report import KnowingRow, Report
from advdetect.report.words import attack_words, nominal, percent, share_range

DASH = "\u2013"


@dataclass(frozen=True)
class Line:
    """One figure of every run; ``None`` where a run has none.

    Attributes:
        part: Of the page: what kind of figure it is.
        name: What it is a figure of.
        values: A value a run, in the order of the runs.
    """

    part: str
    name: str
    values: tuple[Estimate | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        values = [None if value is None else value.to_json() for value in self.values]
        return {"part": self.part, "name": self.name, "values": values}


CLEAN = "Clean images"
FOUND = "Attacks found, at the guard's false-alarm rate"
SAFE = "Right or flagged under attack"
EVADED = "Evaded by attackers who know the guard"


def lines(reports: Mapping[str, Report]) -> tuple[Line, ...]:
    """Every figure that at least one of the reports has, in the order of the first that has it."""
    return tuple(line for part in (_clean, _found, _safe, _evaded) for line in part(reports))


def tell_side_by_side(reports: Mapping[str, Report]) -> Story:
    """Put runs in columns, part by part, and say in what they differ."""
    header = tuple(reports)
    parts: dict[str, list[Line]] = {}
    for line in lines(reports):
        parts.setdefault(line.part, []).append(line)
    sections = [
        Section(
            part,
            (Table("Each run's figure, its interval below", ("", *header), tuple(map(_row, own))),),
        )
        for part, own in parts.items()
    ]
    warned = [(name, "; ".join(report.warnings) or "none") for name, report in reports.items()]
    return Story(
        f"{len(reports)} evaluations side by side",
        ", ".join(f"{name}: {r.detector} guard of {r.model}" for name, r in reports.items()),
        "Figures carry 95 % intervals; runs on other images, or at other rates, are no one "
        "experiment.",
        (),
        (
            Section("What was run", (_facts(reports),)),
            *sections,
            Section("Warnings", (Text("Each run's own."), Terms(tuple(warned)))),
        ),
    )


def _facts(reports: Mapping[str, Report]) -> Table:
    facts: dict[str, Callable[[Report], object]] = {
        "model": lambda r: r.model,
        "model, sha256": lambda r: str(r.guard.get("model_sha256", DASH))[:12],
        "data": lambda r: f"{r.data}, {r.split}",
        "detector": lambda r: r.detector,
        "false-alarm rate": lambda r: nominal(r.false_alarm_rate),
        "suite": lambda r: r.guard.get("suite_evaluated", DASH),
        "seed": lambda r: r.seed,
    }
    packages = dict.fromkeys(name for report in reports.values() for name in report.versions)
    rows = [
        (Cell(name), *(Cell(str(say(report))) for report in reports.values()))
        for name, say in facts.items()
    ]
    rows += [
        (Cell(name), *(Cell(report.versions.get(name, DASH)) for report in reports.values()))
        for name in packages
    ]
    return Table("Guards, models, versions", ("", *reports), tuple(rows))


def _row(line: Line) -> tuple[Cell, ...]:
    cells = [
        Cell(DASH)
        if value is None or value.value is None
        else Cell(percent(value.value), share_range(value))
        for value in line.values
    ]
    return (Cell(line.name), *cells)


def _clean(reports: Mapping[str, Report]) -> Iterator[Line]:
    yield Line(CLEAN, "right", tuple(r.clean.accuracy for r in reports.values()))
    yield Line(
        CLEAN,
        "right, of those that pass",
        tuple(r.clean.accuracy_after_rejection for r in reports.values()),
    )
    rates = dict.fromkeys(a.nominal for r in reports.values() for a in r.clean.false_alarm_rates)
    for rate in rates:
        found = []
        for report in reports.values():
            own = [a for a in report.clean.false_alarm_rates if a.nominal == rate]
            found.append(Estimate(own[0].value, own[0].low, own[0].high, own[0].n) if own else None)
        yield Line(CLEAN, f"flagged at {nominal(rate)}", tuple(found))


def _found(reports: Mapping[str, Report]) -> Iterator[Line]:
    for left_out in (False, True):
        yield from _by_budget(
            FOUND,
            {
                name: {
                    attack_words(row.attack, row.eps)
                    + (", left out of fitting" if left_out else ""): report.detected(row)
                    for row in (
                        *report.rows(left_out=left_out),
                        *(() if left_out else report.rows(control=True)),
                    )
                }
                for name, report in reports.items()
            },
        )


def _safe(reports: Mapping[str, Report]) -> Iterator[Line]:
    yield from _by_budget(
        SAFE,
        {
            name: {
                attack_words(row.attack, row.eps): row.guarded_accuracy
                for row in report.robustness
                if not row.control and row.guarded_accuracy.n
            }
            for name, report in reports.items()
        },
    )


def _evaded(reports: Mapping[str, Report]) -> Iterator[Line]:
    yield from _by_budget(
        EVADED,
        {
            name: {_budget(row): report.evaded(row) for row in report.evasion()}
            for name, report in reports.items()
        },
    )


def _by_budget(part: str, found: Mapping[str, Mapping[str, Estimate]]) -> Iterator[Line]:
    for name in dict.fromkeys(name for own in found.values() for name in own):
        yield Line(part, name, tuple(own.get(name) for own in found.values()))


def _budget(row: KnowingRow) -> str:
    return attack_words(f"{row.norm}_", row.eps).strip()
