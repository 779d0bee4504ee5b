"""The shipped guard under suite ``standard``, on Fashion-MNIST's evaluation split."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track as progress_bar
from rich.table import Table

from advdetect import data, report
from advdetect.attacks.base import eps_text
from advdetect.report.report import DetectionRow, Report
from advdetect.workflows.evaluating_run import evaluate_into
from advdetect.workflows.guards import load_guard
from advdetect.workflows.partitioning import class_partition
from experiments.printing import console, short

NAME = "fashion-resnet"
ATTACKED = 1000


def fashion(out: Path, _data_root: Path | None) -> None:
    """The shipped Fashion-MNIST guard under suite standard, and the Fiedler cuts."""
    guard = load_guard(NAME)
    images = data.load("fashion-mnist", split="evaluation")
    done = evaluate_into(
        guard,
        images,
        out,
        name=NAME,
        limit=ATTACKED,
        track=lambda items, text: progress_bar(
            items, text, console=Console(stderr=True), transient=True
        ),
    )
    found = replace(done.report, class_cuts=class_partition(guard.model, images))
    report.write(found, done.figures, out)
    print_clean(found)
    print_attacks(found)
    for detector in found.detectors:
        print_detection(found, detector)
    print_controls(found)
    print_cuts(found)
    for warning in found.warnings:
        console.print(f"warning: {warning}")
    console.print(f"report: {out / 'report.html'}")


def print_clean(found: Report) -> None:
    """Accuracy, and false alarms beside what a calibrated guard gives."""
    console.print(f"clean accuracy {found.clean.accuracy}")
    console.print(f"accuracy after rejection {found.clean.accuracy_after_rejection}")
    for alarms in found.clean.false_alarm_rates:
        inside = "inside" if alarms.as_expected else "OUTSIDE"
        console.print(
            f"false alarms at {alarms.nominal:g}: {alarms.value:.4f} (n = {alarms.n}), {inside} "
            f"[{alarms.expected_low:.4f}, {alarms.expected_high:.4f}] of a calibrated guard"
        )


def print_attacks(found: Report) -> None:
    """What each attack did to the classifier."""
    table = Table("attack", "eps", "success", "robust accuracy", "median size", title="Attacks")
    for row in found.robustness:
        median = "-" if row.median_perturbation.value is None else f"{row.median_perturbation}"
        table.add_row(
            row.attack, eps(row.eps), str(row.success_rate), str(row.robust_accuracy), median
        )
    console.print(table)


def print_detection(found: Report, detector: str) -> None:
    """One detector by attack, fitted on its family and with the family left out."""
    as_fitted = found.rows(detector)
    left_out = tuple(unseen for _, unseen in found.pairs(detector))
    for kind, every in (("as fitted", as_fitted), ("each attack's family left out", left_out)):
        rows = [row for row in every if row.auroc.n]
        if not rows:
            continue
        table = Table(
            "attack", "eps", "n", "AUROC", "1 %", "5 %", "balanced", title=f"{detector}: {kind}"
        )
        for row in rows:
            table.add_row(row.attack, eps(row.eps), str(row.auroc.n), *figures(row))
        console.print(table)
        worst = {
            "AUROC": min(r.auroc.value or 0 for r in rows),
            "at 1 %": min(r.detection_rate["0.01"].value or 0 for r in rows),
            "at 5 %": min(r.detection_rate["0.05"].value or 0 for r in rows),
            "balanced accuracy": min(r.balanced_accuracy.value or 0 for r in rows),
        }
        console.print("worst: " + ", ".join(f"{name} {v:.4f}" for name, v in worst.items()))


def print_controls(found: Report) -> None:
    """How often the guard fires on noise that left the prediction right."""
    table = Table("noise", "eps", "n", "flagged at 5 %", title=f"{found.detector}: controls")
    for row in found.rows(control=True):
        table.add_row(row.attack, eps(row.eps), str(row.auroc.n), short(row.detection_rate["0.05"]))
    console.print(table)


def print_cuts(found: Report) -> None:
    """The Fiedler cuts."""
    table = Table("layer", "mean accuracy", "pairs", title="Fiedler cut of two classes")
    for cut in found.class_cuts:
        table.add_row(cut.layer, short(cut.accuracy), str(cut.accuracy.n))
    console.print(table)
    table = Table(
        "attack",
        "eps",
        "mean accuracy",
        "classes",
        title="Fiedler cut of clean against attacked, within a predicted class",
    )
    for row in found.cuts:
        table.add_row(row.attack, eps(row.eps), short(row.accuracy), str(row.accuracy.n))
    console.print(table)


def figures(row: DetectionRow) -> list[str]:
    """The figures of a detection row, each with its interval."""
    rates = row.detection_rate
    return [short(e) for e in (row.auroc, rates["0.01"], rates["0.05"], row.balanced_accuracy)]


def eps(value: float | None) -> str:
    """An eps, or what stands for the smallest perturbation."""
    return "least" if value is None else eps_text(value)
