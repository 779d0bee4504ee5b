#!/usr/bin/env python
"""Train models from scratch: scripts/train_models.py NAME [--data-root DIR].

Writes models/NAME/ or, for a family such as tiny-10, the folder of each of its members. What is
there already is left alone. Interrupted, the same command goes on after the last finished epoch
and ends with the same weights (same machine and thread count).
"""

import argparse
import shlex
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from rich.progress import Progress

from advdetect import data
from advdetect.data import ImageSet
from advdetect.ensembles import Step, TrainingConfig
from advdetect.errors import AdvDetectError, InputError
from advdetect.workflows.diary import HISTORY
from advdetect.workflows.training import CONFIG, train_model

MODELS = Path(__file__).parents[1] / "models"


@dataclass(frozen=True)
class Recipe:
    """How a shipped model is made."""

    data: str
    config: TrainingConfig


FASHION_PIXELS: dict[str, Any] = {"mean": [0.2860], "std": [0.3530]}

# Not a name in DATASETS: the folder with train/ and test/ is given with --data-root.
CIFAR = "CIFAR-10 (JPEG)"
CIFAR_PIXELS: dict[str, Any] = {
    "mean": [0.4914, 0.4822, 0.4465],
    "std": [0.2470, 0.2435, 0.2616],
}


def fashion(network: str = "resnet", **options: Any) -> Recipe:
    """A small network, or several, on Fashion-MNIST."""
    arguments = FASHION_PIXELS | options.pop("arguments", {})
    return Recipe("fashion-mnist", TrainingConfig(network, arguments, **options))


def cifar(network: str = "resnet", **options: Any) -> Recipe:
    """A small network, or several, on CIFAR-10."""
    arguments = CIFAR_PIXELS | options.pop("arguments", {})
    return Recipe(CIFAR, TrainingConfig(network, arguments, **options))


# Where chains are trained, and for how many epochs.
BOTH_DATA = (("", fashion, 8), ("cifar-", cifar, 5))


# Two steps of three quarters of eps: a single step is overfitted to within a few epochs.
ROBUST: dict[str, Any] = {
    "arguments": {"width": 32, "stride": 2},
    "adversarial": "pgd",
    "eps": 0.1,
    "steps": 2,
    "stride": 0.75,
    "shift": 0,
    "precision": "bfloat16",
}

# Small enough for three seeds of everything.
SMALL: dict[str, Any] = {"arguments": {"stride": 2}, "epochs": 8, "precision": "bfloat16"}
PENALTIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dcor": {"penalty": "dcor", "weight": 4.0},
    # Not what goes into the classifier alone: the ends of all blocks too.
    "dcor-blocks": {
        "penalty": "dcor",
        "weight": 4.0,
        "layers": ("stages.*.relu2", "penultimate"),
    },
    "partial-dcor": {"penalty": "partial-dcor", "weight": 4.0},
}


def pair(penalty: str, seed: int) -> Recipe:
    """Two small networks, trained together."""
    return fashion(members=2, seed=seed, **SMALL, **PENALTIES[penalty])


def chained(penalty: str) -> dict[str, Any]:
    """Three small networks, each kept from what those before it do: the paper's protocol."""
    weight = 0.05 if penalty == "dcor" else 4.0
    return SMALL | {
        "members": 3,
        "against": "predecessors",
        "penalty": penalty,
        "weight": weight,
    }


# A name with a slash is a member of the family before it.
RECIPES = (
    {
        "fashion-resnet": fashion(),
        "fashion-vgg": fashion("vgg"),
        "fashion-robust": fashion(epochs=20, **ROBUST),
        "fashion-robust-pair": fashion(
            epochs=16, members=2, penalty="partial-dcor", weight=1.0, **ROBUST
        ),
        "cifar10-resnet": cifar(
            "pooled-resnet",
            arguments={"widths": [64, 256, 384]},
            epochs=32,
            batch=512,
            optimizer="muon",
            learning_rate=0.08,
            warm_up=0.1,
            shift=4,
            alternate=True,
            cutout=12,
            precision="bfloat16",
        ),
        "cifar10-robust": cifar(
            epochs=24,
            learning_rate=0.1,
            **ROBUST | {"arguments": {"width": 64, "stride": 2}, "eps": 8 / 255, "shift": 4},
        ),
        "fashion-pair-plain": pair("plain", 0),
        "fashion-pair-dcor": pair("dcor", 0),
        "fashion-pair-partial-dcor": pair("partial-dcor", 0),
    }
    | {
        f"pairs/{penalty}-seed-{seed}": pair(penalty, seed)
        for seed in range(3)
        for penalty in PENALTIES
    }
    | {
        f"{prefix}chains/{penalty}-seed-{seed}": made(
            **chained(penalty) | {"seed": seed, "epochs": epochs}
        )
        for prefix, made, epochs in BOTH_DATA
        for seed in range(3)
        for penalty in ("dcor", "partial-dcor")
    }
    # From outside every ensemble: what an attacker trains for himself.
    | {
        f"{prefix}outside/seed-{seed}": made(**SMALL | {"seed": 100 + seed, "epochs": epochs})
        for prefix, made, epochs in BOTH_DATA
        for seed in range(3)
    }
    | {
        # Strong weight decay: with 5e-4 the second and third layer came out too much alike.
        f"tiny-10/seed-{seed}": cifar(
            "tiny-10", seed=seed, epochs=12, weight_decay=2e-3, precision="bfloat16"
        )
        for seed in range(10)
    }
    | {
        f"width/{width}-seed-{seed}": cifar(
            "tiny-10", seed=seed, epochs=5, arguments={"width": width}
        )
        for width in (4, 8, 16)
        for seed in range(3)
    }
    | {
        f"paths/{network}-seed-{seed}": cifar(network, seed=seed, epochs=5, arguments={"width": 8})
        for network in ("resnet", "vgg")
        for seed in range(3)
    }
)
FAMILIES = {name.partition("/")[0] for name in RECIPES}


def models(name: str) -> list[str]:
    """The models of a family; one model alone."""
    return [one for one in RECIPES if name in (one, one.partition("/")[0])]


def train(name: str, out: Path, data_root: Path | None) -> None:
    """Train one model and write its folder, ``out / name``."""
    recipe, folder = RECIPES[name], out / name
    if (folder / "card.json").is_file():
        return
    images, test = (pictures(recipe.data, split, data_root) for split in ("train", "test"))
    with Progress() as progress:
        bar = progress.add_task(name)

        def watch(step: Step) -> None:
            progress.update(
                bar,
                total=recipe.config.epochs * step.steps,
                completed=(step.epoch - 1) * step.steps + step.step,
                description=f"{name} epoch {step.epoch}/{recipe.config.epochs} "
                f"loss {sum(step.losses) / len(step.losses):.3f}",
            )

        command = "scripts/train_models.py " + name.partition("/")[0]
        summary = train_model(
            recipe.config, images, test, folder, command=command, watch=watch, tensorboard=False
        )
    for log in (CONFIG, HISTORY):  # the card says it all
        (folder / log).unlink()
    accuracy = summary.accuracy
    print(f"{name}: test accuracy {accuracy.value:.4f} [{accuracy.low:.4f}, {accuracy.high:.4f}]")


@cache
def pictures(name: str, split: str, data_root: Path | None) -> ImageSet:
    """The training or the test pictures; decoded once for a whole family."""
    if name in data.DATASETS:
        return data.load(name, split=split, data_root=data_root)
    if data_root is None:
        raise InputError(f"{name}: give its image folder (train/, test/) with --data-root")
    return replace(data.load(data_root, split=split), name=name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "name",
        choices=sorted(FAMILIES | {*RECIPES}),
        metavar="NAME",
        help=", ".join(sorted(FAMILIES)),
    )
    parser.add_argument("--data-root", type=Path, help="where the training split lies")
    parser.add_argument("--out", type=Path, default=MODELS, help="default: models/")
    arguments = parser.parse_args()
    try:
        for model in models(arguments.name):
            train(model, arguments.out, arguments.data_root)
    except AdvDetectError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; go on with: {shlex.join(sys.argv)}")
