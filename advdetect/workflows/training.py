"""Train one network or an ensemble, and write it as a model's folder."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from advdetect import storage
from advdetect.checks import check_images, check_labels
from advdetect.data import ImageSet
from advdetect.ensembles import PENALTIES, Step, Trainer, TrainingConfig, processes
from advdetect.errors import FileError, InputError
from advdetect.metrics import Estimate, wilson
from advdetect.networks import Ensemble, build
from advdetect.networks.ensemble import average
from advdetect.networks.loading import CARD_SCHEMA, parts, weight_files
from advdetect.workflows.beginning import (
    architecture_of,
    check_output,
    given_of,
    members_of,
    start_of,
)
from advdetect.workflows.diary import HISTORY, Watch, diary

CHECKPOINT, CONFIG = "checkpoint.safetensors", "training.json"


@final
@dataclass(frozen=True)
class TrainingSummary:
    """What came out of training.

    Attributes:
        folder: A model's folder.
        accuracy: On the test images, of the network or of the ensemble's average.
        members: Accuracies of the members.
        history: By epoch: mean loss, accuracy and penalty of each member while it learned.
    """

    folder: str
    accuracy: Estimate
    members: tuple[Estimate, ...]
    history: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def train_model(
    config: TrainingConfig,
    images: ImageSet,
    test: ImageSet,
    folder: Path,
    *,
    command: str,
    embedding: Tensor | None = None,
    watch: Watch = lambda step: None,
    tensorboard: bool = True,
) -> TrainingSummary:
    """Train what ``config`` describes; an interrupted training goes on where it was.

    The folder holds the weights and a card, and is a MODEL for everything else. Beside them stay
    ``history.jsonl``, a line an epoch, and ``tensorboard/``, where that package is installed.

    Args:
        config: All that decides the outcome.
        images: To learn from.
        test: To state the accuracy on; nothing is chosen by it.
        folder: For the model.
        command: What to write on the card, so that others can repeat it.
        embedding: ``(classes, r)`` in place of one-hot labels, for penalties given the labels.
        watch: Called after every step.
        tensorboard: Write such logs where the package is installed.

    Raises:
        InputError: the folder holds another training, or images and network do not fit.
        ModelError: the training diverged.
        FileError: the folder is a file, or a checkpoint is damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file: --out expects a folder")
    check_images(test.images, shape=images.shape)
    looks = config.given is not None
    if config.penalty is not None:
        looks = PENALTIES[config.penalty].labels
    if embedding is not None and not looks:
        names = ", ".join(name for name, penalty in PENALTIES.items() if penalty.labels)
        raise InputError(
            f"an embedding of the labels means nothing here: only {names} and a given model look "
            "at labels"
        )
    if embedding is not None and (embedding.ndim != 2 or len(embedding) != len(images.classes)):
        raise InputError(
            f"expected an embedding of shape ({len(images.classes)}, r), a row for each class, "
            f"got {tuple(embedding.shape)}"
        )
    check_labels(images.labels, len(images), len(images.classes))
    start = start_of(config, images) if config.start else None
    architecture = dict(start.architecture) if start else architecture_of(config, images)
    given = None if config.given is None else given_of(config.given, images)
    about: dict[str, Any] = {
        "config": config.to_json(),
        "data": images.name,
        "split": images.split,
        "images": images.fingerprint,
        "embedding": None if embedding is None else storage.fingerprint({"rows": embedding}),
    }
    if given is not None:
        about["weights of the given model"] = storage.fingerprint(given.state_dict())
    if start is not None:
        about["weights of the start"] = storage.fingerprint(start.module.state_dict())
    if _is_trained(folder, about):
        return _summary(folder)
    with processes.together() as device, torch.random.fork_rng([]):
        torch.manual_seed(config.seed)
        members = [build(one) for one in members_of(architecture)]
        if start is not None:
            for member, part in zip(members, parts(start.module), strict=True):
                member.load_state_dict(part.state_dict())
        name = ", ".join(config.start) or config.network
        check_output(name, members[0], images)  # all are built alike
        trainer = Trainer(
            config,
            members,
            images.images,
            images.labels,
            embedding=embedding,
            given=given,
            device=device,
        )
        if processes.is_first():
            storage.write_json(folder / CONFIG, about)
        checkpoint = folder / CHECKPOINT
        with diary(folder, tensorboard) as log:

            def see(step: Step) -> None:
                watch(step)
                log(step)

            ensemble = trainer.run(checkpoint, see)
        ensemble = ensemble.cpu()
        model = ensemble if config.members > 1 else ensemble.members[0]
        counts = _count_right(model, test)
        accuracies = [wilson(int(count), len(test)) for count in counts]
        if processes.is_first():
            _write(folder, model, architecture, about, command, images, accuracies)
            checkpoint.unlink(missing_ok=True)
        processes.wait()
    return _summary(folder)


def _summary(folder: Path) -> TrainingSummary:
    card = storage.read_json(folder / "card.json", schema=CARD_SCHEMA)
    accuracy, *members = [
        Estimate(**found)
        for found in (card["test_accuracy"], *card.get("member_test_accuracy", ()))
    ]
    history = folder / HISTORY
    lines = history.read_text().splitlines() if history.exists() else []  # of no epoch
    return TrainingSummary(str(folder), accuracy, tuple(members), tuple(map(json.loads, lines)))


def read_embedding(path: Path) -> Tensor:
    """Read the ``(classes, r)`` rows that stand for labels from an ``.npy`` file.

    Raises:
        FileError: it is missing, damaged or no array of finite numbers.
    """
    try:
        rows = torch.from_numpy(np.load(path, allow_pickle=False)).float()
    except FileNotFoundError:
        raise FileError(f"no file {path}") from None
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise FileError(f"{path} is no .npy file of numbers: {error}") from None
    if not torch.isfinite(rows).all():
        raise FileError(f"{path} holds NaN or infinity")
    return rows


def _is_trained(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether this very training is done; refuses a folder that holds anything else."""
    path, card = folder / CONFIG, folder / "card.json"
    if not path.exists():
        if card.exists():
            raise InputError(
                f"{folder} holds a model that was not trained here: give another --out"
            )
        return False
    before, now = storage.read_json(path), json.loads(json.dumps(about))
    if before != now:
        settings = before.get("config", {})
        differing = [key for key, value in now["config"].items() if settings.get(key) != value]
        differing += [key for key in now if key != "config" and before.get(key) != now[key]]
        raise InputError(
            f"{folder} holds a training with other {', '.join(differing)}: give another --out, or "
            "the same options to go on"
        )
    return card.exists()


def _count_right(model: nn.Module, test: ImageSet) -> Tensor:
    """How many test images the model classifies correctly, then each member of an ensemble."""
    found = []
    with torch.no_grad():
        for rows in torch.arange(len(test)).split(500):
            images, labels = test.images[rows], test.labels[rows]
            if isinstance(model, Ensemble):
                members = model.member_logits(images)
                logits = torch.cat([average(members)[None], members])
            else:
                logits = model(images)[None]
            found.append((logits.argmax(2) == labels).sum(1))
    return torch.stack(found).sum(0)


def _write(
    folder: Path,
    model: nn.Module,
    architecture: Mapping[str, Any],
    about: Mapping[str, Any],
    command: str,
    images: ImageSet,
    accuracies: list[Estimate],
) -> None:
    sha256 = {
        file: storage.save_tensors(
            folder / file, {key: t.contiguous() for key, t in part.state_dict().items()}
        )
        for file, part in zip(weight_files(architecture), parts(model), strict=True)
    }
    card = {
        "schema": CARD_SCHEMA,
        "name": folder.name,
        "network": architecture,
        "input": {"shape": list(images.shape), "range": [0, 1]},
        "classes": list(images.classes),
        "data": f"{images.name}, {images.split} split",
        "recipe": about["config"],
        "seed": about["config"]["seed"],
        "command": command,
        "test_accuracy": asdict(accuracies[0]),
        "versions": {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "processes": int(os.environ.get("WORLD_SIZE", 1)),
        },
        "sha256": sha256,
    }
    if len(accuracies) > 1:
        card["member_test_accuracy"] = [asdict(accuracy) for accuracy in accuracies[1:]]
    storage.write_json(folder / "card.json", card)
