"""What a worker needs to attack chunks of a data set, and what it makes of one."""

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advdetect.attacks import Budget, attack_chunk
from advdetect.attacks.running import chunk_tensors, fingerprints
from advdetect.data import ImageSet
from advdetect.networks import LoadedModel, build


@dataclass(frozen=True)
class AttackTask:
    """Rows ``first`` to ``end - 1`` under one attack."""

    budget: Budget
    first: int
    end: int


class SentModel:
    """A module on its way to a worker, and in this process the module itself.

    It is pickled as it is, so that the worker's behaves the same to the last digit. A module
    that cannot be pickled, such as a scripted one, is built there anew with the same weights if
    it has a name to build it by.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.module = model.module
        self._architecture = dict(model.architecture)

    def __getstate__(self) -> dict[str, Any]:
        # Workers of other hosts may know its GPU by another number, and move it there themselves.
        device = device_of(self.module)
        module = self.module if device.type == "cpu" else copy.deepcopy(self.module).cpu()
        sent: dict[str, Any] = {"device": device.type}
        if self._architecture and not _can_be_pickled(module):
            return {**sent, "architecture": self._architecture, "weights": module.state_dict()}
        return {**sent, "module": module}

    def __setstate__(self, sent: dict[str, Any]) -> None:
        if "module" in sent:
            self.module = sent["module"]
        else:
            self.module = build(sent["architecture"]).eval()
            self.module.load_state_dict(sent["weights"])
        self._architecture = sent.get("architecture", {})
        self.module.to(sent["device"])


@dataclass(frozen=True, eq=False)
class AttackState:
    """What a worker keeps from chunk to chunk."""

    module: nn.Module
    images: ImageSet
    source: Tensor
    seed: int
    surrogate: nn.Module | None


def begin(
    model: SentModel, images: ImageSet, seed: int, surrogate: SentModel | None = None
) -> AttackState:
    """Set a worker up."""
    other = None if surrogate is None else surrogate.module
    return AttackState(model.module, images, fingerprints(images.images), seed, other)


def attack_shard(state: AttackState, task: AttackTask) -> dict[str, Tensor]:
    """Attack one chunk, and return its columns of an ``AttackResult``."""
    rows = slice(task.first, task.end)
    device = device_of(state.module)
    images, labels = state.images.images[rows].to(device), state.images.labels[rows]
    chunk = attack_chunk(
        state.module,
        images,
        labels.to(device),
        task.budget,
        seed=state.seed,
        surrogate=state.surrogate,
    )
    return chunk_tensors(chunk, labels, state.images.index[rows], state.source[rows])


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters lie, the CPU if it has none."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def _can_be_pickled(module: nn.Module) -> bool:
    try:
        pickle.dumps(module)
    except Exception:  # whatever its parts raise
        return False
    return True
