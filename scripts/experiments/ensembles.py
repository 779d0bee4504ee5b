"""What penalties on likeness change: the members, what carries over, and who knows the guard."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
import train_models
from torch import Tensor

from advdetect import data
from advdetect.attacks.base import eps_text
from advdetect.data import ImageSet
from advdetect.metrics import rate
from advdetect.networks import Ensemble, LoadedModel, load_model
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.evaluating_members import answers, member_similarity
from advdetect.workflows.evaluating_run import evaluate_into
from advdetect.workflows.guards import load_guard
from experiments.printing import console, short, show, track

SEEDS = range(3)
PAIRS = ("plain", "dcor", "partial-dcor", "dcor-blocks")
CHAINS = ("dcor", "partial-dcor")
# 0.03, 0.05 and 0.1 of a standard deviation of the pixels, as in the paper; then 8/255.
SHARES = (0.03, 0.05, 0.1)
EPS = (*(round(share * 0.353, 4) for share in SHARES), 8 / 255)
WHITE_BOX = (8 / 255, 0.04)
GUARDED = (
    "fashion-resnet",
    "fashion-pair-plain",
    "fashion-pair-dcor",
    "fashion-pair-partial-dcor",
    "fashion-robust",
    "fashion-robust-pair",
)
IMAGES = 1000
STRONG = 200
KNOWINGLY = 60


def ensembles(out: Path, data_root: Path | None) -> None:
    """Three seeds of pairs and chains, trained where they are not there; then shipped models."""
    images = data.load("fashion-mnist", split="evaluation", limit=IMAGES)
    model = trainer(out / "models", data_root)
    likeness(model, images, out)
    transfer(model, images, out)
    chain(model, images, out)
    strong(images, out)
    known(images, out)


def trainer(folder: Path, data_root: Path | None) -> Callable[[str], LoadedModel]:
    """Loads models by name, trained into ``folder`` where they are not there yet."""

    @cache
    def model(name: str) -> LoadedModel:
        train_models.train(name, folder, data_root)
        return load_model(str(folder / name))

    return model


def likeness(model: Callable[[str], LoadedModel], images: ImageSet, out: Path) -> None:
    """Accuracy, and how alike the members' penultimate features are."""
    rows = []
    for penalty in PAIRS:
        found: list[list[float]] = []
        for seed in SEEDS:
            pair = ensemble(model(f"pairs/{penalty}-seed-{seed}"))
            *_, last = member_similarity(pair, images.images)
            values = last["values"]
            assert isinstance(values, dict)
            right = [mean_right(network, images) for network in (pair, *pair.members)]
            found.append([right[0], float(np.mean(right[1:])), *values.values()])
        accuracies, alike = np.array(found)[:, :2].T, np.array(found)[:, 2:].T
        rows.append((penalty, *map(over_seeds, accuracies), *(spread(v, 3) for v in alike)))
    show(
        f"Two members, three seeds (mean, least to most): accuracy in % of {len(images)} "
        "evaluation images, likeness of penultimate features on 500",
        ("penalty", "average", "members", "dCor2", "unbiased dCor2", "CKA", "GBS k=5"),
        rows,
        out / "likeness.md",
    )


def transfer(model: Callable[[str], LoadedModel], images: ImageSet, out: Path) -> None:
    """Examples of an outside network on members; PGD on the average with full knowledge."""
    rows, white = [], []
    # On images that all networks of a seed get right, the other penalties' too.
    every = [right_of_all(model, seed, images) for seed in SEEDS]
    for penalty in PAIRS:
        pairs = [ensemble(model(f"pairs/{penalty}-seed-{seed}")) for seed in SEEDS]
        outsiders = [model(f"outside/seed-{seed}") for seed in SEEDS]
        for attack in ("linf_fgsm", "linf_pgd"):
            row: list[str] = []
            for eps in EPS:
                values = []
                for seed, pair, other in zip(SEEDS, pairs, outsiders, strict=True):
                    moved = crafted(other, images, eps, out / f"runs/outside-{seed}")[attack]
                    kept = every[seed]
                    values.append(
                        np.mean([right_on(m, moved, images)[kept].mean() for m in pair.members])
                    )
                row.append(over_seeds(values))
            rows.append((penalty, attack.removeprefix("linf_"), *row))
        cells = []
        for eps in WHITE_BOX:
            values = []
            for seed, pair in zip(SEEDS, pairs, strict=True):
                name = f"{penalty}-{seed}"
                loaded = LoadedModel(name, pair, {}, images.shape)
                moved = crafted(loaded, images, eps, out / f"runs/{name}")["linf_pgd"]
                values.append(right_on(pair, moved, images)[every[seed]].mean())
            cells.append(over_seeds(values))
        white.append((penalty, *cells))
    n = ", ".join(str(int(kept.sum())) for kept in every)
    show(
        "Members' accuracy in % on examples crafted on an outside network; three seeds (mean, "
        f"least to most), n = {n} images that all networks get right",
        ("penalty", "attack", *(eps_text(eps) for eps in EPS)),
        rows,
        out / "transfer.md",
    )
    show(
        "The average's accuracy in % under PGD that knows it, same images",
        ("penalty", *(eps_text(eps) for eps in WHITE_BOX)),
        white,
        out / "white-box.md",
    )


def chain(
    model: Callable[[str], LoadedModel],
    images: ImageSet,
    out: Path,
    *,
    prefix: str = "",
    every_eps: Sequence[float] = EPS,
) -> None:
    """The paper's protocol: the third network of a chain beside the first, which is plain."""
    rows = []
    for penalty in CHAINS:
        found: dict[tuple[str, str], list[list[float]]] = {}
        count = []
        for seed in SEEDS:
            first, _, third = ensemble(model(f"{prefix}chains/{penalty}-seed-{seed}")).members
            outsider = model(f"{prefix}outside/seed-{seed}")
            clean = images.images
            kept = right_on(first, clean, images) & right_on(third, clean, images)
            count.append(int(kept.sum()))
            runs = [crafted(outsider, images, e, out / f"runs/outside-{seed}") for e in every_eps]
            for name, network in (("first", first), ("third", third)):
                for attack in ("linf_fgsm", "linf_pgd"):
                    values = [mean_right(network, images)]
                    values += [
                        float(right_on(network, run[attack], images)[kept].mean()) for run in runs
                    ]
                    found.setdefault((name, attack.removeprefix("linf_")), []).append(values)
        n = ", ".join(map(str, count))
        for (name, attack), values in found.items():
            columns = map(over_seeds, zip(*values, strict=True))
            rows.append((penalty, name, attack, n, *columns))
    show(
        f"A chain of three, attacked from an outside network, {images.name}, three seeds (mean, "
        f"least to most): clean accuracy of {len(images)} images, then accuracy on the n images "
        "that both networks get right, %",
        ("penalty", "network", "attack", "n", "clean", *map(eps_text, every_eps)),
        rows,
        out / "chain.md",
    )


def strong(images: ImageSet, out: Path) -> None:
    """Robust models under the suite of ensembles, worst attack by image."""
    every, images = images, images.subset(range(STRONG))
    rows = []
    for name in ("fashion-robust", "fashion-robust-pair"):
        loaded = load_model(name)
        _, run = attack_data(
            loaded, images, out / "runs" / name, suite="ensemble", seed=0, track=track
        )
        clean = rate(right_on(loaded.module, every.images, every))
        cells = [short(clean)]
        for eps in (4 / 255, 8 / 255, 0.04, 0.1):
            holds = np.stack([(~r.success).numpy() for r in run.results if r.eps == eps])
            cells.append(short(rate(holds.all(0))))
        rows.append((name, *cells))
    show(
        f"Robust accuracy, worst of PGD, re-weighted members and (8/255, 0.1) the strong cascade, "
        f"n = {len(images)} evaluation images; clean: n = {len(every)}",
        ("model", "clean", "4/255", "8/255", "0.04", "0.1"),
        rows,
        out / "robust.md",
    )


def known(images: ImageSet, out: Path) -> None:
    """Model and guard, attacked by someone who knows both."""
    rows = []
    for name in GUARDED:
        done = evaluate_into(
            load_guard(name),
            images,
            out / "knowing" / name,
            name=name,
            suite="quick",
            limit=KNOWINGLY,
            adaptive=KNOWINGLY,
            track=track,
        )
        together = {row.eps: row.success["0.05"] for row in done.report.evasion()}
        n = next(iter(together.values())).n
        cells = [short(together[eps], 3) if eps in together else "-" for eps in sorted(together)]
        rows.append((name, n, *cells))
        header = ("model and guard", "n", *(eps_text(eps or 0) for eps in sorted(together)))
        show(
            "Misclassified and not flagged at 5 % false alarms, all knowing attacks together",
            header,
            rows,
            out / "known.md",
        )
    console.print(f"tables: {out}/*.md")


def ensemble(loaded: LoadedModel) -> Ensemble:
    """The module, which is an ensemble."""
    assert isinstance(loaded.module, Ensemble)
    return loaded.module


def crafted(loaded: LoadedModel, images: ImageSet, eps: float, folder: Path) -> dict[str, Tensor]:
    """FGSM and PGD at one eps, kept in a run."""
    _, run = attack_data(
        loaded,
        images,
        folder / f"{eps:.4f}",
        suite="members",
        norm="linf",
        eps=eps,
        command="members",
        track=track,
    )
    return {result.attack: result.adversarial for result in run.results}


def right_on(network: torch.nn.Module, pixels: Tensor, images: ImageSet) -> np.ndarray:
    """Which inputs a network classifies correctly."""
    return answers(network, pixels) == images.labels.numpy()


def right_of_all(model: Callable[[str], LoadedModel], seed: int, images: ImageSet) -> np.ndarray:
    """Images that every network of a seed gets right."""
    networks = [model(f"outside/seed-{seed}").module]
    for penalty in PAIRS:
        networks += [*ensemble(model(f"pairs/{penalty}-seed-{seed}")).members]
    return np.all([right_on(network, images.images, images) for network in networks], axis=0)


def mean_right(network: torch.nn.Module, images: ImageSet) -> float:
    """Clean accuracy."""
    return float(right_on(network, images.images, images).mean())


def over_seeds(values: Sequence[float]) -> str:
    """Mean, least and most of shares, in percent."""
    return spread(100 * np.asarray(values, dtype=float), 1)


def spread(values: Sequence[float] | np.ndarray, digits: int) -> str:
    """Mean, least and most."""
    found = np.asarray(values, dtype=float)
    return f"{found.mean():.{digits}f} ({found.min():.{digits}f} to {found.max():.{digits}f})"
