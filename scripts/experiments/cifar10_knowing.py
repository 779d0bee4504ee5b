"""Guards on CIFAR-10 (JPEG) against someone who knows them: a plain network and a robust one."""

from pathlib import Path

import numpy as np
import torch

from advdetect import storage
from advdetect.metrics import wilson
from advdetect.networks import load_model, models_folder
from advdetect.report.report import Report
from advdetect.workflows.evaluating_run import evaluate_into
from advdetect.workflows.guards import load_guard
from advdetect.workflows.keeping import kept
from advdetect.workflows.recording import ATTACK, KNOWING, of_kind
from experiments.cifar import test_splits
from experiments.cifar10 import WORKERS, guard_in
from experiments.cifar10_tables import SUITE, found_at_5
from experiments.fashion import eps
from experiments.knowing import percent, print_attacks, print_evasion
from experiments.printing import console, show, track

PLAIN, ROBUST = "cifar10-resnet", "cifar10-robust"
ATTACKED = 200  # pictures under suite fine
# Attacked knowingly: on the plain network few are enough to see how it ends.
KNOWINGLY = {ROBUST: 100, PLAIN: 20}
STRONGEST = ("linf_strong", 8 / 255)


def cifar10_knowing(out: Path, data_root: Path | None) -> None:
    """Suite fine on the robust network, and suite adaptive on both."""
    torch.set_num_threads(1)  # a core for each worker
    splits = test_splits(data_root)
    robust = out / ROBUST
    guards = {
        ROBUST: guard_in(robust / "guard", load_model(ROBUST), splits, robust / "attacked"),
        PLAIN: load_guard(PLAIN),
    }
    # The plain network under suite fine is what experiment cifar10 is about.
    suites = {ROBUST: (SUITE, ATTACKED), PLAIN: ("quick", KNOWINGLY[PLAIN])}
    for name, guard in guards.items():
        suite, limit = suites[name]
        found = evaluate_into(
            guard,
            splits["evaluation"],
            out / name / "evaluation",
            name=name,
            suite=suite,
            limit=limit,
            adaptive=KNOWINGLY[name],
            workers=WORKERS,
            track=track,
        ).report
        console.print(f"{name}: clean accuracy {found.clean.accuracy}")
        print_evasion(found, out / name, name)
        print_attacks(found, out / name)
        if name == ROBUST:
            print_accuracy(found, out / name)
            print_unguarded(out / name / "evaluation")
            write_on_card(found)


def print_accuracy(found: Report, out: Path) -> None:
    """What each attack leaves of the accuracy, and how many of its successes are found."""
    caught = {row.budget: row for row in found.rows() if row.auroc.n}
    body = []
    for row in found.robustness:
        seen = caught.get(row.budget)
        detection = ("-", "-") if seen is None else (seen.auroc, f"{100 * found_at_5(seen):.0f}")
        body.append((row.attack, eps(row.eps), row.robust_accuracy, *detection))
    show(
        f"{ROBUST} under suite {SUITE}",
        ("attack", "eps", "robust accuracy", "AUROC", "found at 5 %, %"),
        body,
        out / "accuracy.md",
    )


def print_unguarded(folder: Path) -> None:
    """What the strong cascade does to the pictures attacked knowingly, where no guard stands."""
    evaluated, _, _ = kept(folder)
    (strong,) = (
        block
        for block in of_kind(evaluated.records, ATTACK)
        if (block.keys["attack"], block.keys["eps"]) == STRONGEST
    )
    same = np.isin(strong["index"], of_kind(evaluated.records, KNOWING)[0]["index"])
    right = same & (strong["clean_prediction"] == strong["label"])
    share = wilson(int(strong["success"][right].sum()), int(right.sum()))
    console.print(f"the same pictures without a guard, strong cascade at 8/255: {percent(share)} %")


def write_on_card(found: Report) -> None:
    """Put what the strongest attack leaves of the accuracy on the robust network's card."""
    (row,) = (row for row in found.robustness if (row.attack, row.eps) == STRONGEST)
    card = models_folder() / ROBUST / "card.json"
    storage.write_json(
        card,
        storage.read_json(card)
        | {
            "robust_accuracy": {
                "attack": row.attack,
                "eps": row.eps,
                **row.robust_accuracy.to_json(),
                "split": f"evaluation, the first {ATTACKED}",
                "command": "scripts/reproduce.py cifar10-knowing",
            }
        },
    )
