"""Which families of features earn their price on CIFAR-10: alone, left out, cost.

On reference pictures alone: a development table, not an evaluation.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.data import ImageSet
from advdetect.detectors import DETECTORS
from advdetect.features import FeatureExtractor
from advdetect.features.tables import DEFAULT, OF_GRADIENT, OF_MORE_PASSES
from advdetect.guard.parts import fitting_rows
from advdetect.guard.rows import KeptRows, family_of
from advdetect.networks import LoadedModel
from advdetect.runs import RunFolder
from advdetect.workflows.attacking import read_attacks
from experiments.printing import show, track

TRIED = ("graph_pooled", "spectral")
REFERENCE = 3000
BATCH, ROUNDS = 64, 20


def features(model: LoadedModel, reference: ImageSet, out: Path) -> None:
    """Print the ablation: AUROC on half of the attacked sources, fitted on the other half."""
    run = read_attacks(RunFolder.open(out / "attacked"))
    attacked = len(run.results[0])
    # Pictures that were not attacked show what clean ones look like.
    clean = reference.images[attacked : attacked + REFERENCE]
    families = (*DEFAULT, *OF_MORE_PASSES, *OF_GRADIENT, *TRIED)
    extractor = FeatureExtractor.fit(model.module, clean, families=families, passes=2, track=track)
    nothing = torch.empty(0, dtype=torch.int64)
    attacked_images = reference.images[:attacked]
    rows = fitting_rows(model.module, extractor, attacked_images, run, nothing, track)
    owner = np.array([column.family for column in extractor.columns])
    cost = price(model, extractor, reference.images[:BATCH])
    body = []
    for name, chosen in track(cases(families), "ablation"):
        columns = np.flatnonzero(np.isin(owner, chosen))
        seen, unseen = areas(rows, columns, left_out=False), areas(rows, columns, left_out=True)
        spent = sum(cost[n] for n in chosen)
        body.append((name, len(columns), *seen, *unseen, f"{spent:.1f}"))
    show(
        f"Families of features, {attacked} attacked reference pictures, halves by source: AUROC, "
        f"mean and worst over attacks; milliseconds a batch of {BATCH}, the passes and what is "
        "made of the gradient apart",
        ("features", "columns", "mean", "worst", "mean, unseen", "worst, unseen", "ms"),
        body,
        out / "features.md",
    )


def cases(families: Sequence[str]) -> list[tuple[str, list[str]]]:
    """What is compared on up to two passes: its name, and the families it has.

    The second look, the mirrored one, removes no detail: of one pass or of two, the gradient is
    the picture's own.
    """
    own = [*DEFAULT]
    both = [*DEFAULT, *OF_MORE_PASSES]
    every = [*both, *OF_GRADIENT]
    found = [("default, one pass", own), ("default, two passes", both)]
    found += [("one pass and gradient", [*own, *OF_GRADIENT])]
    found += [("two passes and gradient", every)]
    found += [(f"{name} alone", [name]) for name in families]
    found += [
        (f"two passes and gradient without {name}", [n for n in every if n != name])
        for name in DEFAULT
    ]
    found += [("one pass, graph_pooled for graph", ["graph_pooled", *own[:2], *own[3:]])]
    found += [(f"one pass and {name}", [*own, name]) for name in TRIED]
    found += [(f"two passes and {name}", [*both, name]) for name in TRIED]
    return found


def areas(rows: KeptRows, columns: NDArray[np.int64], *, left_out: bool) -> tuple[str, str]:
    """Mean and worst AUROC over budgets of a classifier on some columns."""
    assert rows.source is not None
    part = replace(rows, rows=rows.rows[:, columns], roles=None)
    fit, judged = part.only(rows.source % 2 == 0), part.only(rows.source % 2 == 1)
    found: list[float] = []
    if left_out:
        for family in sorted({family_of(budget) for budget in rows.budgets}):
            budgets = [budget for budget in rows.budgets if family_of(budget) == family]
            detector = fit.fit(DETECTORS["logistic"](), without=budgets)
            found += [judged.area(detector, [budget]) for budget in budgets]
    else:
        detector = fit.fit(DETECTORS["logistic"]())
        found = [judged.area(detector, [budget]) for budget in rows.budgets]
    return f"{np.mean(found):.3f}", f"{min(found):.3f}"


def price(model: LoadedModel, extractor: FeatureExtractor, images: Tensor) -> dict[str, float]:
    """Milliseconds that each family spends on a batch, the best of several rounds."""
    observation = extractor.observe(model.module, images)
    spent: dict[str, float] = {}
    for name, feature in extractor.features.items():
        times = []
        for _ in range(ROUNDS):
            fresh = replace(observation)  # what families share is worked out anew
            start = time.perf_counter()
            feature.rows(fresh)
            times.append(1000 * (time.perf_counter() - start))
        spent[name] = min(times)
    return spent
