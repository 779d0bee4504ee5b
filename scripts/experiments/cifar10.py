"""Detection on CIFAR-10 (JPEG), where rivals' figures stand: every detector, every attack."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from advdetect.data import ImageSet
from advdetect.guard import Guard
from advdetect.metrics import Estimate
from advdetect.networks import LoadedModel, load_model
from advdetect.report.report import DetectionRow, Report
from advdetect.report.words import row_words
from advdetect.runs import RunFolder
from advdetect.workflows.attacking import attack_data, read_attacks
from advdetect.workflows.evaluating import evaluate_attacks
from advdetect.workflows.evaluating_run import Fitting, evaluate_into
from advdetect.workflows.fitting import fit_guard
from experiments.cifar import test_splits
from experiments.cifar10_features import features
from experiments.fashion import eps
from experiments.printing import console, short, show, track

MODEL = "cifar10-resnet"
SUITE = "fine"
FITTED = 600  # reference pictures attacked
ATTACKED = 500  # evaluation pictures attacked; all are judged clean
KNOWINGLY = 0
SEEDS = (0, 1, 2)
WORKERS = 2
UNCERTAIN = 0.9  # of its class: a victim below was uncertain to begin with


def cifar10(out: Path, data_root: Path | None) -> None:
    """Guards of one and of two passes, and every baseline, under suite fine."""
    torch.set_num_threads(1)  # a core for each worker
    splits = test_splits(data_root)
    model = load_model(MODEL)
    guards = fitted(model, splits, out)
    main = guards["two passes, seed 0"]
    done = evaluate_into(
        main,
        splits["evaluation"],
        out / "evaluation",
        name=MODEL,
        suite=SUITE,
        limit=ATTACKED,
        adaptive=KNOWINGLY,
        baselines=Fitting(splits["reference"], splits["calibration"]),
        workers=WORKERS,
        track=track,
    )
    run = read_attacks(RunFolder.open(out / "evaluation"))
    reports = {"two passes, seed 0": done.report}
    for name, guard in guards.items():
        if guard is not main:
            reports[name] = evaluate_attacks(
                guard, splits["evaluation"], run, model=MODEL, track=track
            ).report
    print_clean(done.report)
    print_attacks(done.report, out)
    print_detectors(reports, out)
    print_each_attack(reports, out)
    print_controls(reports, out)
    print_seeds(reports, out)
    features(model, splits["reference"], out)
    console.print(f"report: {out / 'evaluation' / 'report.html'}")


def fitted(model: LoadedModel, splits: Mapping[str, ImageSet], out: Path) -> dict[str, Guard]:
    """Guards on the same attacked reference pictures; those there are taken up."""
    attacked = out / "attacked"
    some = splits["reference"].subset(range(FITTED))
    attack_data(model, some, attacked, suite=f"{SUITE}-fitting", workers=WORKERS, track=track)
    kinds = [("two passes", 2, seed) for seed in SEEDS] + [("one pass", 1, seed) for seed in SEEDS]
    guards: dict[str, Guard] = {}
    for kind, passes, seed in kinds:
        folder = out / "guards" / f"{passes}-passes-seed-{seed}"
        if not (folder / "guard.json").is_file():
            fit_guard(
                model,
                splits["reference"],
                splits["calibration"],
                folder,
                attacked=attacked,
                per_class=True,
                passes=passes,
                seed=seed,
                track=track,
            )
        guards[f"{kind}, seed {seed}"] = Guard.load(folder, model=model.module)
    return guards


def print_clean(found: Report) -> None:
    """Accuracy and false alarms."""
    console.print(f"clean accuracy {found.clean.accuracy}")
    for alarms in found.clean.false_alarm_rates:
        console.print(
            f"false alarms at {alarms.nominal:g}: {alarms.value:.4f} (n = {alarms.n}); of a "
            f"calibrated guard [{alarms.expected_low:.4f}, {alarms.expected_high:.4f}]"
        )


def print_attacks(found: Report, out: Path) -> None:
    """What each attack did to the network."""
    show(
        "Attacks",
        ("attack", "eps", "success", "median size"),
        [
            (row.attack, eps(row.eps), str(row.success_rate), str(row.median_perturbation))
            for row in found.robustness
        ],
        out / "attacks.md",
    )


def columns(reports: Mapping[str, Report]) -> dict[str, tuple[Report, str]]:
    """What is compared, by name: a report, and a detector in it."""
    two, one = reports["two passes, seed 0"], reports["one pass, seed 0"]
    found = {"two passes": (two, two.detector), "one pass": (one, one.detector)}
    found["two passes, clean-only"] = (two, "clean-only")
    found["one pass, clean-only"] = (one, "clean-only")
    others = [name for name in two.detectors if name not in (two.detector, "clean-only")]
    return found | {name: (two, name) for name in others}


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


def print_each_attack(reports: Mapping[str, Report], out: Path) -> None:
    """AUROC and the share found of every attack by every detector."""
    compared = columns(reports)
    budgets = [row for row in next(iter(compared.values()))[0].rows() if row.auroc.n]
    for left_out, kind in ((False, "as fitted"), (True, "each attack's family left out")):
        body = []
        for one in budgets:
            cells = []
            for found, detector in compared.values():
                by_budget = {row.budget: row for row in found.rows(detector, left_out=left_out)}
                row = by_budget.get(one.budget)
                cells.append("-" if row is None else figure(row))
            body.append((row_words(one), one.auroc.n, *cells))
        show(
            f"AUROC, share found at 5 % false alarms in %: {kind}",
            ("attack", "n", *compared),
            body,
            out / f"auroc-{'unseen' if left_out else 'fitted'}.md",
        )


def print_controls(reports: Mapping[str, Report], out: Path) -> None:
    """How often harmless changes are flagged."""
    compared = columns(reports)
    controls = next(iter(compared.values()))[0].rows(control=True)
    body = []
    for one in controls:
        cells = []
        for found, detector in compared.values():
            by_budget = {row.budget: row for row in found.rows(detector, control=True)}
            row = by_budget.get(one.budget)
            cells.append("-" if row is None else percent(row.detection_rate["0.05"]))
        body.append((row_words(one), one.auroc.n, *cells))
    show(
        "Flagged at 5 %, prediction still right, in %",
        ("change", "n", *compared),
        body,
        out / "controls.md",
    )


def print_seeds(reports: Mapping[str, Report], out: Path) -> None:
    """Range over seeds, which choose the units."""
    body = []
    for kind in ("two passes", "one pass"):
        own = [reports[f"{kind}, seed {seed}"] for seed in SEEDS]
        for left_out in (False, True):
            least = [
                min(row.auroc.value or 0 for row in found.rows(left_out=left_out) if row.auroc.n)
                for found in own
            ]
            name = "family left out" if left_out else "as fitted"
            body.append((kind, name, ", ".join(f"{value:.4f}" for value in least)))
    show("Worst AUROC by seed", ("guard", "fit", "seeds 0, 1, 2"), body, out / "seeds.md")


def figure(row: DetectionRow) -> str:
    """Area, and the share found in percent."""
    found = row.detection_rate["0.05"].value
    return "-" if row.auroc.value is None else f"{row.auroc.value:.3f} {100 * (found or 0):.0f}"


def percent(estimate: Estimate) -> str:
    """A share in percent."""
    return "-" if estimate.value is None else f"{100 * estimate.value:.1f}"
