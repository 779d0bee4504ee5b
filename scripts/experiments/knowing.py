"""The shipped guard attacked by someone who knows it, beside published detectors."""

from pathlib import Path

from advdetect import data
from advdetect.attacks.base import eps_text
from advdetect.metrics import Estimate
from advdetect.report.report import ALL, KnowingRow, Report
from advdetect.workflows.evaluating_run import Fitting, evaluate_into
from advdetect.workflows.guards import load_guard
from experiments.printing import console, show, track

NAME = "fashion-resnet"
ATTACKED = 1000
KNOWINGLY = 100


def knowing(out: Path, _data_root: Path | None) -> None:
    """Suites standard and adaptive on the shipped guard, and every baseline under both."""
    splits = {name: data.load("fashion-mnist", split=name) for name in data.SPLITS[:3]}
    done = evaluate_into(
        load_guard(NAME),
        splits["evaluation"],
        out,
        name=NAME,
        limit=ATTACKED,
        adaptive=KNOWINGLY,
        baselines=Fitting(splits["reference"], splits["calibration"]),
        track=track,
    )
    found = done.report
    print_evasion(found, out, NAME)
    print_attacks(found, out)
    print_detectors(found, out)
    for warning in found.warnings:
        console.print(f"warning: {warning}")
    console.print(f"report: {out / 'report.html'}")


def print_evasion(found: Report, out: Path, name: str) -> None:
    """All knowing attacks together, image by image."""
    rows = found.evasion()
    show(
        f"Misclassified and not flagged, all knowing attacks together, %: {name}, n = "
        f"{rows[0].success['0.05'].n} evaluation images classified correctly",
        ("linf eps", *(f"at {100 * float(key):g} %" for key in rows[0].success)),
        [(eps_text(row.eps or 0), *map(percent, row.success.values())) for row in rows],
        out / "evasion.md",
    )


def print_attacks(found: Report, out: Path) -> None:
    """Each knowing attack at the guard's own rate, and what more effort would find."""
    own = [row for row in found.knowing if row.detector == found.detector and row.attack != ALL]
    budgets = list(dict.fromkeys(row.eps for row in own))
    show(
        "Each attack at 5 % false alarms, %",
        ("attack", "n", *(eps_text(eps or 0) for eps in budgets)),
        [
            (name, count(own, name), *(percent(one(own, name, eps)) for eps in budgets))
            for name in dict.fromkeys(row.attack for row in own)
        ],
        out / "knowing-attacks.md",
    )
    show(
        "The strongest with gradients, with more effort, %",
        ("attack", "eps", "as usual", "twice the steps", "twice the restarts"),
        [
            (
                row.attack,
                eps_text(row.eps or 0),
                percent(row.success),
                percent(row.twice_the_steps),
                percent(row.twice_the_restarts),
            )
            for row in found.convergence
        ],
        out / "convergence.md",
    )


def print_detectors(found: Report, out: Path) -> None:
    """Every detector on its worst attack, and against someone who knows it."""
    rows = []
    for detector in found.detectors:
        least, area = found.worst(detector), found.worst_by_auroc(detector)
        if least is None or area is None:
            continue
        evasion = {row.eps: row for row in found.evasion(detector)}
        known = [evasion.get(eps) for eps in (8 / 255, 0.1)]
        rows.append(
            (
                detector,
                f"{area.auroc.value:.3f} ({area.budget})",
                f"{percent(found.detected(least))} ({least.budget})",
                *("-" if row is None else percent(found.evaded(row)) for row in known),
            )
        )
    show(
        "Detectors at 5 % false alarms: the worst attack of suite standard, and knowing attackers",
        ("detector", "worst AUROC", "worst found, %", "evaded at 8/255, %", "evaded at 0.1, %"),
        rows,
        out / "detectors.md",
    )


def one(rows: list[KnowingRow], attack: str, eps: float | None) -> Estimate:
    """Success of an attack at a budget, at the guard's rate."""
    (row,) = (r for r in rows if (r.attack, r.eps) == (attack, eps))
    return row.success["0.05"]


def count(rows: list[KnowingRow], attack: str) -> int:
    """Images that an attack was run on."""
    return next(row.success["0.05"].n for row in rows if row.attack == attack)


def percent(estimate: Estimate) -> str:
    """A share and its interval, in percent."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
