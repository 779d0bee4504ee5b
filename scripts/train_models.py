#!/usr/bin/env python
"""Train models from scratch: scripts/train_models.py NAME [--data-root DIR].

Writes models/NAME/weights.safetensors and card.json, or, for a family such as tiny-10, those of
each of its members. What is there already is left alone. Interrupted, the same command goes on
after the last finished epoch and ends with the same weights (same machine and thread count).
"""

import argparse
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F

from advdetect import data, storage
from advdetect.data import ImageSet
from advdetect.errors import AdvDetectError, InputError
from advdetect.metrics import wilson
from advdetect.networks import build
from advdetect.networks.loading import CARD_SCHEMA

MODELS = Path(__file__).parents[1] / "models"


@dataclass(frozen=True)
class Recipe:
    """How a shipped model is made; all of it goes on the card.

    ``adversarial`` is the eps (linf) of the single attack step that every batch is trained on,
    0 for plain training. ``bfloat16`` halves the time on processors that multiply in it.
    """

    data: str
    network: str
    arguments: dict[str, object]
    epochs: int = 18
    batch: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    shift: int = 2
    noise: float = 0.0
    adversarial: float = 0.0
    bfloat16: bool = False
    seed: int = 0


FASHION_PIXELS: dict[str, object] = {"mean": [0.2860], "std": [0.3530]}

# Not a name in DATASETS: the folder with train/ and test/ is given with --data-root.
CIFAR = "CIFAR-10 (JPEG)"
CIFAR_PIXELS: dict[str, object] = {
    "mean": [0.4914, 0.4822, 0.4465],
    "std": [0.2470, 0.2435, 0.2616],
}


def cifar(network: str, seed: int, *, epochs: int, **arguments: object) -> Recipe:
    """A small network on CIFAR-10."""
    return Recipe(CIFAR, network, CIFAR_PIXELS | arguments, epochs=epochs, seed=seed)


# A name with a slash is a member of the family before it.
RECIPES = (
    {
        "fashion-resnet": Recipe("fashion-mnist", "resnet", FASHION_PIXELS),
        "fashion-vgg": Recipe("fashion-mnist", "vgg", FASHION_PIXELS),
        "fashion-robust": Recipe(
            "fashion-mnist",
            "resnet",
            FASHION_PIXELS | {"width": 32},
            epochs=12,
            adversarial=0.1,
            bfloat16=True,
        ),
    }
    | {
        # Strong weight decay: with 5e-4 the second and third layer came out too much alike.
        f"tiny-10/seed-{seed}": replace(
            cifar("tiny-10", seed, epochs=12), weight_decay=2e-3, bfloat16=True
        )
        for seed in range(10)
    }
    | {
        f"width/{width}-seed-{seed}": cifar("tiny-10", seed, epochs=5, width=width)
        for width in (4, 8, 16)
        for seed in range(3)
    }
    | {
        f"paths/{network}-seed-{seed}": cifar(network, seed, epochs=5, width=8)
        for network in ("resnet", "vgg")
        for seed in range(3)
    }
)
FAMILIES = {name.partition("/")[0] for name in RECIPES}


def members(name: str) -> list[str]:
    """The models of a family; one model alone."""
    return [member for member in RECIPES if name in (member, member.partition("/")[0])]


def train(name: str, out: Path, data_root: Path | None) -> None:
    """Train one model and write its folder, ``out / name``."""
    recipe, folder = RECIPES[name], out / name
    if (folder / "card.json").is_file():
        return
    torch.manual_seed(recipe.seed)
    architecture = {"kind": "network", "name": recipe.network, "arguments": recipe.arguments}
    network = build(architecture).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    images = pictures(recipe.data, "train", data_root)
    checkpoint = folder / "checkpoint.safetensors"
    start = resume(checkpoint, network, optimizer)
    steps = len(images) // recipe.batch

    with Progress() as progress:
        bar = progress.add_task(name, total=recipe.epochs * steps, completed=start * steps)
        for epoch in range(start, recipe.epochs):
            # One generator an epoch: going on after an interruption draws the same numbers.
            generator = torch.Generator().manual_seed(1000 * recipe.seed + epoch)
            order = torch.randperm(len(images), generator=generator)
            network.train()
            for step in range(steps):
                rows = order[step * recipe.batch : (step + 1) * recipe.batch]
                batch = augment(images.images[rows], recipe, generator)
                share = (epoch * steps + step) / (recipe.epochs * steps)
                optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(share)
                batch = batch.contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                    if recipe.adversarial:
                        batch = one_step(
                            network, batch, images.labels[rows], recipe.adversarial, generator
                        )
                    loss = F.cross_entropy(
                        network(batch).float(),
                        images.labels[rows],
                        label_smoothing=recipe.label_smoothing,
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                text = f"{name} epoch {epoch + 1}/{recipe.epochs} loss {loss.item():.3f}"
                progress.update(bar, advance=1, description=text)
            storage.save_tensors(checkpoint, checkpoint_of(network, optimizer, epoch + 1))

    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    sha256 = storage.save_tensors(folder / "weights.safetensors", weights)
    test = pictures(recipe.data, "test", data_root)
    accuracy = wilson(count_right(network, test), len(test))
    storage.write_json(
        folder / "card.json",
        {
            "schema": CARD_SCHEMA,
            "name": name,
            "network": architecture,
            "input": {"shape": list(test.shape), "range": [0, 1]},
            "classes": list(test.classes),
            "data": f"{recipe.data}, training split",
            "recipe": asdict(recipe),
            "seed": recipe.seed,
            "command": "scripts/train_models.py " + name.partition("/")[0],
            "test_accuracy": asdict(accuracy),
            "versions": {"torch": torch.__version__, "threads": torch.get_num_threads()},
            "sha256": {"weights.safetensors": sha256},
        },
    )
    checkpoint.unlink()
    print(f"{name}: test accuracy {accuracy.value:.4f} [{accuracy.low:.4f}, {accuracy.high:.4f}]")


@cache
def pictures(name: str, split: str, data_root: Path | None) -> ImageSet:
    """The training or the test pictures; decoded once for a whole family."""
    if name in data.DATASETS:
        return data.load(name, split=split, data_root=data_root)
    if data_root is None:
        raise InputError(f"{name}: give its image folder (train/, test/) with --data-root")
    return data.load(data_root, split=split)


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Mirror half of the pictures, move each a little, and add a little Gaussian noise.

    Noise of a deviation between 0 and ``recipe.noise`` keeps the network's bits calm where only
    noise was added: a detector should not fire on it.
    """
    n, channels, height, width = images.shape
    mirrored = torch.rand(n, generator=generator) < 0.5
    images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    padded = F.pad(images, (recipe.shift,) * 4)
    down, right = torch.randint(0, 2 * recipe.shift + 1, (2, n, 1), generator=generator)
    y = (down + torch.arange(height)).view(n, 1, height, 1)
    x = (right + torch.arange(width)).view(n, 1, 1, width)
    channel = torch.arange(channels).view(1, -1, 1, 1)
    moved = padded[torch.arange(n).view(n, 1, 1, 1), channel, y, x]
    deviation = recipe.noise * torch.rand(n, 1, 1, 1, generator=generator)
    return (moved + deviation * torch.randn(moved.shape, generator=generator)).clamp(0, 1)


def one_step(
    network: nn.Module, images: Tensor, labels: Tensor, eps: float, generator: torch.Generator
) -> Tensor:
    """Attack a batch with one step from a random start (Wong et al. 2020, arXiv:2001.03994)."""
    start = eps * (2 * torch.rand(images.shape, generator=generator) - 1)
    moved = (images + start).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(moved).float(), labels), moved)
    moved = (moved.detach() + 1.25 * eps * gradient.sign()).clamp(images - eps, images + eps)
    return moved.clamp(0, 1)


def one_cycle(share: float, warm_up: float = 0.25) -> float:
    """Share of the peak learning rate: up from a twentieth, then down to 0, as cosines."""
    if share < warm_up:
        return 0.05 + 0.95 * half_cosine(1 - share / warm_up)
    return half_cosine((share - warm_up) / (1 - warm_up))


def half_cosine(share: float) -> float:
    """From 1 at share 0 down to 0 at share 1."""
    return float(0.5 + 0.5 * torch.cos(torch.pi * torch.tensor(share, dtype=torch.float64)))


def count_right(network: nn.Module, images: ImageSet) -> int:
    """How many test images the network classifies correctly."""
    network.eval()
    right = 0
    with torch.no_grad():
        for rows in torch.arange(len(images)).split(500):
            right += int((network(images.images[rows]).argmax(1) == images.labels[rows]).sum())
    return right


def checkpoint_of(
    network: nn.Module, optimizer: torch.optim.Optimizer, epochs: int
) -> dict[str, Tensor]:
    """Everything that the next epoch depends on."""
    momenta = optimizer.state_dict()["state"]
    return (
        {f"network.{key}": value for key, value in network.state_dict().items()}
        | {f"momentum.{key}": value["momentum_buffer"] for key, value in momenta.items()}
        | {"epochs": torch.tensor(epochs)}
    )


def resume(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Take up a checkpoint, if there is one; return how many epochs it has behind it."""
    if not path.exists():
        return 0
    saved = storage.load_tensors(path)
    network.load_state_dict(
        {key.removeprefix("network."): v for key, v in saved.items() if key.startswith("network.")}
    )
    state = optimizer.state_dict()
    state["state"] = {
        int(key.removeprefix("momentum.")): {"momentum_buffer": value}
        for key, value in saved.items()
        if key.startswith("momentum.")
    }
    optimizer.load_state_dict(state)
    return int(saved["epochs"])


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
        for member in members(arguments.name):
            train(member, arguments.out, arguments.data_root)
    except AdvDetectError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; go on with: {shlex.join(sys.argv)}")
