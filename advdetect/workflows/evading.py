"""Attack a guard by someone who knows it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advdetect.attacks.knowing import (
    ADAPTIVE,
    EPS,
    KNOWING,
    Effort,
    KnowingResult,
    evade_chunk,
    join_knowing,
)
from advdetect.data import ImageSet
from advdetect.guard import Guard
from advdetect.guard.target import GuardTarget
from advdetect.runs import Executor, RunFolder, Shard, run_shards
from advdetect.runs.records import Block
from advdetect.workflows.attacking_worker import device_of
from advdetect.workflows.progress import Track
from advdetect.workflows.recording import EFFORTS, knowing_blocks

CHUNK = 50
USUAL = Effort()

# Computes shards, and gives the tensors of each by name.
Compute = Callable[[Sequence[Shard]], dict[str, dict[str, Tensor]]]


@dataclass(frozen=True, eq=False)
class Evaded:
    """What attacks that know a guard did to it.

    Attributes:
        blocks: Records of every image, attack and budget, checks of convergence included.
        results: The attacks with their usual effort, and the pictures they made.
    """

    blocks: tuple[Block, ...]
    results: tuple[KnowingResult, ...]


@dataclass(frozen=True)
class EvadeTask:
    """Rows ``first`` to ``end - 1`` under one attack that knows the guard."""

    attack: str
    effort: Effort
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class EvadeState:
    """What a worker keeps from chunk to chunk."""

    target: GuardTarget
    images: ImageSet
    seed: int


def evade(
    guard: Guard,
    images: ImageSet,
    compute: Compute,
    *,
    attacks: Sequence[str] = ADAPTIVE,
    check: bool = True,
) -> Evaded:
    """Attack a guard knowingly, and look whether more effort finds more.

    Args:
        guard: The guard attacked.
        images: Clean images.
        compute: Computes the chunks, here or elsewhere.
        attacks: Names in ``KNOWING``.
        check: Run the strongest attack with gradients again, with twice the steps and with
            twice the restarts.
    """
    results = _results(compute, images, [(name, "", USUAL) for name in attacks])
    follows = [r for r in results.values() if KNOWING[r.attack].gradients]
    if check and follows:
        strongest = max(follows, key=lambda r: int(r.evaded(guard.false_alarm_rate).sum())).attack
        results |= _results(
            compute, images, [(strongest, text, effort) for text, effort in EFFORTS.items()]
        )
    blocks: list[Block] = []
    for (_, effort), result in results.items():
        clean = images.images[: len(result)]
        blocks += knowing_blocks(result, clean, guard.detector_name, guard.false_alarm_rate, effort)
    usual = tuple(result for (_, effort), result in results.items() if not effort)
    return Evaded(tuple(blocks), usual)


def in_folder(
    guard: Guard, images: ImageSet, run: RunFolder, seed: int, executor: Executor, track: Track
) -> Compute:
    """Compute chunks into a run's folder, with all that it has already left alone."""
    place = f"knowing-{guard.detector_name}"

    def compute(shards: Sequence[Shard]) -> dict[str, dict[str, Tensor]]:
        kept = [Shard(f"{place}/{shard.name}", shard.task) for shard in shards]
        run_shards(
            run,
            kept,
            begin,
            (guard, images, seed),
            evade_shard,
            executor=executor,
            track=track,
            description=f"attacking the guard {guard.detector_name}",
        )
        return {shard.name: run.read(there.name) for shard, there in zip(shards, kept, strict=True)}

    return compute


def in_memory(guard: Guard, images: ImageSet, seed: int, track: Track) -> Compute:
    """Compute chunks here and now."""

    def compute(shards: Sequence[Shard]) -> dict[str, dict[str, Tensor]]:
        state = begin(guard, images, seed)
        text = f"attacking the guard {guard.detector_name}"
        return {shard.name: evade_shard(state, shard.task) for shard in track(shards, text)}

    return compute


def begin(guard: Guard, images: ImageSet, seed: int) -> EvadeState:
    """Set a worker up."""
    return EvadeState(GuardTarget(guard), images, seed)


def evade_shard(state: EvadeState, task: EvadeTask) -> dict[str, Tensor]:
    """Attack one chunk, and return its columns of a ``KnowingResult``."""
    rows = slice(task.first, task.end)
    device = device_of(state.target.guard.model)
    chunk = evade_chunk(
        state.target,
        state.images.images[rows].to(device),
        state.images.labels[rows].to(device),
        task.attack,
        EPS[KNOWING[task.attack].norm],
        seed=state.seed,
        effort=task.effort,
    )
    return {name: t.cpu() for name, t in chunk.items()} | {"index": state.images.index[rows]}


def _results(
    compute: Compute, images: ImageSet, wanted: Sequence[tuple[str, str, Effort]]
) -> dict[tuple[str, str], KnowingResult]:
    """Results by attack and effort, computed chunk by chunk, all attacks in turn."""
    shards: dict[tuple[str, str], list[Shard]] = {}
    for attack, text, effort in wanted:
        count = max(1, round(len(images) * KNOWING[attack].share))
        named = f"{attack}-{text}".replace(" ", "-").strip("-")
        shards[attack, text] = [
            Shard(
                f"{named}-{int(rows[0]):06d}",
                EvadeTask(attack, effort, int(rows[0]), int(rows[-1]) + 1),
            )
            for rows in torch.arange(count).split(CHUNK)
        ]
    every = sorted((s for own in shards.values() for s in own), key=lambda s: s.task.first)
    found = compute(every)
    return {
        (attack, text): join_knowing(
            attack, EPS[KNOWING[attack].norm], [found[shard.name] for shard in own]
        )
        for (attack, text), own in shards.items()
    }
