"""What the experiment on CIFAR-10 (JPEG) found, as tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from advdetect.attacks import AttackRun
from advdetect.detectors.conformal import ConformalCalibration
from advdetect.guard import Guard
from advdetect.metrics import Estimate
from advdetect.report.report import DetectionRow, Report
from advdetect.report.words import row_words
from advdetect.runs.records import Block
from advdetect.workflows.judging import CLEAN, Judged
from advdetect.workflows.recording import of_kind
from advdetect.workflows.reporting import report_of
from experiments.fashion import eps
from experiments.printing import console, short, show

SUITE = "fine"
SEEDS = (0, 1, 2)
SURE = 0.9  # a victim less sure than this was uncertain to begin with
MAIN = "four passes and gradient"
# Passes forth, and whether the model is asked for a gradient besides.
GUARDS = {
    MAIN: (4, True),
    "two passes and gradient": (2, True),
    "one pass and gradient": (1, True),
    "two passes": (2, False),
    "one pass": (1, False),
}
CLEAN_ONLY = ", clean-only"


def print_clean(found: Report) -> None:
    """Accuracy and false alarms."""
    console.print(f"clean accuracy {found.clean.accuracy}")
    for alarms in found.clean.false_alarm_rates:
        console.print(
            f"false alarms at {alarms.nominal:g}: {alarms.value:.4f} (n = {alarms.n}); of a "
            f"calibrated guard [{alarms.expected_low:.4f}, {alarms.expected_high:.4f}]"
        )


def print_attacks(found: Report, run: AttackRun, unsure: Tensor, out: Path) -> None:
    """What each attack did to the network, and how uncertain its victims were to begin with."""
    victims = {
        str(result.budget): unsure[: len(result)][result.counted].double().mean().item()
        for result in run.results
    }
    show(
        f"Attacks; uncertain: clean, the network was less than {100 * SURE:.0f} % sure",
        ("attack", "eps", "success", "median size", "uncertain victims, %"),
        [
            (
                row.attack,
                eps(row.eps),
                str(row.success_rate),
                str(row.median_perturbation),
                f"{100 * victims[row.budget]:.0f}",
            )
            for row in found.robustness
        ],
        out / "attacks.md",
    )


def columns(reports: Mapping[str, Report]) -> dict[str, tuple[Report, str]]:
    """What is compared, by name: a report, and a detector in it."""
    own = {kind: reports[f"{kind}, seed 0"] for kind in GUARDS}
    found = {kind: (report, report.detector) for kind, report in own.items()}
    found |= {f"{kind}{CLEAN_ONLY}": (report, "clean-only") for kind, report in own.items()}
    main = own[MAIN]
    others = [name for name in main.detectors if name not in (main.detector, "clean-only")]
    return found | {name: (main, name) for name in others}


def print_detectors(reports: Mapping[str, Report], out: Path) -> None:
    """Each detector by its worst attack, fitted and unseen."""
    rows = []
    for name, (found, detector) in columns(reports).items():
        seen, unseen = found.rows(detector), found.rows(detector, left_out=True)
        rows.append((name, *worst(seen), *(worst(unseen) if unseen else ("-", "-"))))
    show(
        f"Worst attack of suite {SUITE}, 5 % false alarms",
        ("detector", "AUROC", "found", "AUROC, family left out", "found, family left out"),
        rows,
        out / "detectors.md",
    )


def worst(rows: Sequence[DetectionRow]) -> tuple[str, str]:
    """The smallest area and the smallest share found, each with its attack."""
    counted = [row for row in rows if row.auroc.n]

    def least(what: Callable[[DetectionRow], Estimate]) -> str:
        row = min(counted, key=lambda row: what(row).value or 0.0)
        return f"{short(what(row), 3)} ({row_words(row)})"

    return least(lambda row: row.auroc), least(lambda row: row.detection_rate["0.05"])


def print_each_attack(
    reports: Mapping[str, Report], out: Path, stem: str = "auroc", note: str = ""
) -> None:
    """AUROC and the share found of every attack by every detector."""
    title = f"AUROC, and share found at 5 % false alarms in %{note}"
    for left_out, kind in ((False, "as fitted"), (True, "each attack's family left out")):
        by_attack(
            f"{title}: {kind}",
            reports,
            out / f"{stem}-{'unseen' if left_out else 'fitted'}",
            partial(Report.rows, left_out=left_out),
            lambda row: f"{row.auroc.value or 0:.3f} {100 * found_at_5(row):.0f}",
        )


def print_as_others_count(judged: Mapping[str, Judged], out: Path) -> None:
    """The same against clean pictures that the network gets right, as papers mostly have it."""
    names = [f"{kind}, seed 0" for kind in GUARDS]
    own = {name: report_of(right_alone(judged[name])) for name in names}
    print_each_attack(own, out, "right-alone", ", clean pictures classified correctly alone")


def right_alone(judged: Judged) -> Judged:
    """Without the scores of clean pictures that the network gets wrong."""
    (clean,) = of_kind(judged.records, CLEAN)
    right = clean["index"][clean["prediction"] == clean["label"]]

    def part(block: Block) -> Block:
        if block.keys["attack"] != CLEAN:
            return block
        keep = np.isin(block["index"], right)
        return Block(block.keys, {name: column[keep] for name, column in block.columns.items()})

    return replace(judged, scores=tuple(map(part, judged.scores)))


def print_controls(reports: Mapping[str, Report], out: Path) -> None:
    """How often harmless changes are flagged."""
    by_attack(
        "Flagged at 5 % false alarms, prediction still right, in %",
        reports,
        out / "controls",
        partial(Report.rows, control=True),
        lambda row: f"{100 * found_at_5(row):.1f}",
    )


def found_at_5(row: DetectionRow) -> float:
    """Share flagged at 5 % false alarms."""
    return row.detection_rate["0.05"].value or 0.0


def by_attack(
    title: str,
    reports: Mapping[str, Report],
    file: Path,
    rows_of: Callable[[Report, str], Sequence[DetectionRow]],
    cell: Callable[[DetectionRow], str],
) -> None:
    """A row for each attack, a column for each detector: ours, without attacks, of others."""
    every = columns(reports)
    first = [row for row in rows_of(*next(iter(every.values()))) if row.auroc.n]
    clean = [name for name in every if name.endswith(CLEAN_ONLY)]
    others = [name for name in every if name not in (*GUARDS, *clean)]
    for names, kind in ((GUARDS, "ours"), (clean, "clean-only"), (others, "others")):
        found = [{row.budget: row for row in rows_of(*every[name])} for name in names]
        body = [
            (
                row_words(row),
                row.auroc.n,
                *(cell(rows[row.budget]) if row.budget in rows else "-" for rows in found),
            )
            for row in first
        ]
        show(title, ("attack", "n", *names), body, file.with_name(f"{file.name}-{kind}.md"))


def print_seeds(reports: Mapping[str, Report], out: Path) -> None:
    """Every attack by seed, which chooses the units and the pictures for the features."""
    own = [reports[f"{MAIN}, seed {seed}"] for seed in SEEDS]
    body = []
    for left_out in (False, True):
        rows = [[row for row in found.rows(left_out=left_out) if row.auroc.n] for found in own]
        name = "family left out" if left_out else "as fitted"
        for same in zip(*rows, strict=True):
            body.append(
                (row_words(same[0]), name, *(f"{row.auroc.value or 0:.3f}" for row in same))
            )
    seeds = [f"seed {seed}" for seed in SEEDS]
    show(f"AUROC by seed, {MAIN}", ("attack", "fit", *seeds), body, out / "seeds.md")


def print_thresholds(judged: Judged, guard: Guard, out: Path) -> None:
    """A threshold for each predicted class beside one for all."""
    pooled = ConformalCalibration(guard.calibration.scores)

    def at_one(block: Block) -> Block:
        return Block(block.keys, block.columns | {"p_value": pooled.p_values(block["score"])})

    own = [b for b in judged.scores if b.keys["detector"] == guard.detector_name]
    pooled_own = replace(judged, scores=tuple(map(at_one, own)))
    (clean,) = of_kind(judged.records, CLEAN)
    classes = np.unique(clean["prediction"])
    found, rates = [], []
    for every in (judged, pooled_own):
        block = next(b for b in every.scores if b.keys["attack"] == CLEAN)
        flagged = block["p_value"] <= 0.05
        by_class = [100 * flagged[clean["prediction"] == c].mean() for c in classes]
        rates.append(f"{100 * flagged.mean():.1f} ({min(by_class):.1f} to {max(by_class):.1f})")
        found.append([row for row in report_of(every).rows() if row.auroc.n])
    body = [
        (row_words(each), each.auroc.n, *(f"{100 * found_at_5(row):.0f}" for row in (each, one)))
        for each, one in zip(*found, strict=True)
    ]
    body.append(("clean pictures (by predicted class)", len(clean), *rates))
    show(
        "Flagged at 5 % false alarms, %",
        ("attack", "n", "a threshold for each class", "one for all"),
        body,
        out / "thresholds.md",
    )
