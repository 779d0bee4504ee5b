"""Guards on CIFAR-10 (JPEG) against someone who knows them: a plain network and a robust one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from advdetect import storage
from advdetect.data import ImageSet
from advdetect.guard import Guard
from advdetect.metrics import wilson
from advdetect.networks import load_model, models_folder
from advdetect.report.report import Report
from advdetect.runs import RunFolder
from advdetect.workflows.attacking import read_attacks
from advdetect.workflows.evaluating_run import evaluate_into
from advdetect.workflows.guards import load_guard
from advdetect.workflows.keeping import kept
from advdetect.workflows.recording import ATTACK, KNOWING, of_kind
from advdetect.workflows.reporting import report_of
from experiments.cifar import test_splits
from experiments.cifar10 import WORKERS, guard_in, scores_of
from experiments.cifar10_tables import GUARDS, MAIN, SUITE, found_at_5
from experiments.fashion import eps
from experiments.knowing import percent, print_attacks, print_evasion
from experiments.printing import console, short, show, track

PLAIN, ROBUST = "cifar10-resnet", "cifar10-robust"
ON_ROBUST = ("two passes", MAIN)  # of GUARDS; the first ships
ATTACKED = 200  # pictures under suite fine
# Attacked knowingly: on the plain network few are enough to see how it ends.
KNOWINGLY = {ROBUST: 100, PLAIN: 20}
STRONGEST = ("linf_strong", 8 / 255)


def cifar10_knowing(out: Path, data_root: Path | None) -> None:
    """Suite fine on the robust network, and suite adaptive on both."""
    torch.set_num_threads(1)  # a core for each worker
    splits = test_splits(data_root)
    model, images = load_model(ROBUST), splits["evaluation"]
    folders = {kind: out / ROBUST / kind.replace(" ", "-") for kind in ON_ROBUST}
    guards: dict[str, Guard] = {}
    for kind, folder in folders.items():
        passes, gradient = GUARDS[kind]
        attacked = out / ROBUST / "attacked"
        guards[kind] = guard_in(
            folder / "guard", model, splits, attacked, passes=passes, gradient=gradient
        )
    shipped, other = ON_ROBUST
    under = {shipped: known(guards[shipped], ROBUST, images, folders[shipped], SUITE, ATTACKED)}
    evaluation = folders[shipped] / "evaluation"
    run = read_attacks(RunFolder.open(evaluation))
    scores = scores_of(guards[other], images, run, evaluation / "others" / f"{other}.parquet")
    evaluated, _, _ = kept(evaluation)
    under[other] = report_of(replace(evaluated, scores=scores))
    print_accuracy(under, out / ROBUST)
    print_unguarded(evaluation)
    write_on_card(under[shipped])
    known(guards[other], ROBUST, images, folders[other])
    # The plain network under suite fine is what experiment cifar10 is about.
    known(load_guard(PLAIN), PLAIN, images, out / PLAIN)


def known(
    guard: Guard,
    name: str,
    images: ImageSet,
    out: Path,
    suite: str = "quick",
    limit: int | None = None,
) -> Report:
    """Attack a guard by someone who knows it, beside a suite, and print what came of it."""
    found = evaluate_into(
        guard,
        images,
        out / "evaluation",
        name=name,
        suite=suite,
        limit=limit or KNOWINGLY[name],
        adaptive=KNOWINGLY[name],
        workers=WORKERS,
        track=track,
    ).report
    console.print(f"{name}: clean accuracy {found.clean.accuracy}")
    print_evasion(found, out, name)
    print_attacks(found, out)
    return found


def print_accuracy(under: Mapping[str, Report], out: Path) -> None:
    """What each attack leaves of the accuracy, and how many of its successes guards find."""
    caught = [{row.budget: row for row in found.rows() if row.auroc.n} for found in under.values()]
    body = []
    for row in under[ON_ROBUST[0]].robustness:
        seen = [rows[row.budget] for rows in caught if row.budget in rows]
        cells = [f"{short(one.auroc, 3)} {100 * found_at_5(one):.0f}" for one in seen]
        victims = str(seen[0].auroc.n) if seen else "-"
        cells = cells or ["-"] * len(caught)
        body.append((row.attack, eps(row.eps), row.robust_accuracy, victims, *cells))
    show(
        f"{ROBUST} under suite {SUITE}: AUROC, and found at 5 %, %",
        ("attack", "eps", "robust accuracy", "victims", *under),
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
