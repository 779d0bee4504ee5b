"""Attack a data set with a suite, into a run folder that can be resumed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from advdetect import storage
from advdetect.attacks import AttackRun, Budget, choose_budgets
from advdetect.attacks.running import CHUNK, join, plan
from advdetect.checks import check_images, check_labels, check_logits
from advdetect.data import ImageSet
from advdetect.errors import FileError, InputError, ModelError
from advdetect.networks import LoadedModel
from advdetect.runs import RunFolder, Shard, choose_executor, run_shards, write_records
from advdetect.workflows.attacking_worker import (
    AttackTask,
    SentModel,
    attack_shard,
    begin,
    device_of,
)
from advdetect.workflows.progress import Track, untracked
from advdetect.workflows.recording import attack_block, twins


@dataclass(frozen=True)
class AttackLine:
    """One attack of a run, summed up over the images that the model classified correctly."""

    attack: str
    norm: str
    eps: float | None
    images: int
    robust_accuracy: float
    success_rate: float
    median_perturbation: float | None


@dataclass(frozen=True)
class AttackSummary:
    """What a run of attacks did."""

    model: str
    data: str
    split: str
    suite: str
    seed: int
    clean_accuracy: float
    attacks: tuple[AttackLine, ...]
    folder: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def attack_data(
    model: LoadedModel,
    images: ImageSet,
    folder: Path,
    *,
    suite: str = "standard",
    norm: str | None = None,
    eps: float | None = None,
    seed: int = 0,
    chunk: int = CHUNK,
    surrogate: LoadedModel | None = None,
    workers: int | None = None,
    ray: str | None = None,
    command: str = "attack",
    extra: Mapping[str, Any] | None = None,
    track: Track = untracked,
) -> tuple[RunFolder, AttackRun]:
    """Attack every image, or take up the run where it was interrupted.

    The run's files, ``timings.json`` apart, hold the same bytes whoever computed them, as long
    as workers have processors of one kind: a run keeps to its chunk size and number of threads.

    Args:
        model: The model attacked.
        images: The images; their split is noted, and ``fit`` refuses those of ``evaluation``.
        folder: The run's folder.
        suite: Name in ``SUITES``.
        norm: Keeps the suite's attacks of this norm alone.
        eps: Replaces the suite's budgets.
        seed: Seeds the attacks, with the content of each chunk.
        chunk: Images that are attacked at a time, and kept in one file. With other chunks, as
            with other threads, results agree up to rounding, and random draws are others.
        surrogate: Another model of the same pixels and classes, for transfer attacks; without
            one the suite's transfer attacks are left out.
        workers: Processes that attack, this one alone if 1; ``None``: 1, or all that fit on the
            Ray cluster. Each uses as many threads as the run, see ``torch.set_num_threads``.
        ray: A Ray cluster's address, ``auto`` or ``local``: its hosts attack instead.
        command: What the run is for.
        extra: More of the configuration that the run belongs to.
        track: Shows progress.

    Raises:
        FileError: the folder holds another run, or some chunks failed, three times each.
        InputError: no such suite or norm, images of another shape than the model takes, labels
            that it has no classes for, or workers that cannot be had.
        ModelError: the model fails on such images, or gives no gradients.
    """
    executor = choose_executor(workers, ray, gpu=device_of(model.module).type == "cuda")
    if chunk < 1:
        raise InputError(f"expected at least 1 image a chunk, got {chunk}")
    budgets = choose_budgets(suite, norm, eps, surrogate=surrogate is not None)
    check_fit(model, images)
    if surrogate is not None:
        check_fit(surrogate, images)
    configuration = {
        "model": model.name,
        "weights": storage.fingerprint(model.module.state_dict()),
        "data": images.name,
        "split": images.split,
        "images": images.fingerprint,
        "count": len(images),
        "suite": suite,
        "budgets": [[b.attack, b.eps] for b in budgets],
        "seed": seed,
        "chunk": chunk,
        **({} if surrogate is None else _surrogate(surrogate)),
        **(extra or {}),
    }
    run = RunFolder.start(folder, command, configuration, device=device_of(model.module).type)
    run_shards(
        run,
        _shards(budgets, len(images), chunk),
        begin,
        (SentModel(model), images, seed, None if surrogate is None else SentModel(surrogate)),
        attack_shard,
        executor=executor,
        track=track,
        description="attacking",
    )
    return run, read_attacks(run)


def _surrogate(model: LoadedModel) -> dict[str, Any]:
    weights = storage.fingerprint(model.module.state_dict())
    return {"surrogate": model.name, "surrogate_weights": weights}


def _shards(budgets: Sequence[Budget], n: int, chunk: int) -> list[Shard]:
    """Cut the work up, the first chunk of every attack before the second of any.

    Attacks differ in cost by a factor of a thousand: in turn, they tell early how long all of
    them will take.
    """
    work = plan(budgets, n, chunk=chunk)
    work.sort(key=lambda part: int(part[1][0]))
    return [
        Shard(shard_name(budget, int(rows[0])), AttackTask(budget, int(rows[0]), int(rows[-1]) + 1))
        for budget, rows in work
    ]


def check_fit(model: LoadedModel, images: ImageSet) -> None:
    """Require a model that takes such images, and has a class for every label.

    Raises:
        InputError: images of another shape, or labels that the model has no classes for.
        ModelError: the model fails on such images, or gives no class logits.
    """
    check_images(images.images, shape=model.shape)
    try:
        with torch.no_grad():
            logits = model.module(images.images[:1].to(device_of(model.module)))
    # What layers raise at a wrong shape.
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).split("\n")[0][:200]
        raise ModelError(
            f"{model.name} fails on images of shape {images.shape} (channels, height, width) of "
            f"{images.name}: {reason}"
        ) from error
    check_logits(logits, model.name)
    check_labels(images.labels, len(images), logits.shape[1])


def read_attacks(run: RunFolder) -> AttackRun:
    """Read a finished run back.

    Raises:
        FileError: a shard is missing: the run was interrupted.
    """
    about = run.configuration
    budgets = [Budget(name, eps) for name, eps in about["budgets"]]
    found: dict[Budget, list[dict[str, torch.Tensor]]] = {}
    for budget, rows in plan(budgets, about["count"], chunk=about["chunk"]):
        shard = shard_name(budget, int(rows[0]))
        if not run.has(shard):
            raise FileError(
                f"{run.path} is not finished, {shard} is missing: repeat the command that began it"
            )
        found.setdefault(budget, []).append(run.read(shard))
    results = tuple(join(budget, chunks) for budget, chunks in found.items())
    return AttackRun(about["suite"], about["seed"], results)


def shard_name(budget: Budget, first: int) -> str:
    """File name of a chunk, by its attack, eps and first row."""
    return f"{budget}".replace(" ", "-").replace("/", "_") + f"-{first:06d}"


def summarise(run: RunFolder, attacked: AttackRun, images: ImageSet) -> AttackSummary:
    """Sum a run on ``images`` up, and write its records."""
    write_records(
        run.path / "records.parquet",
        [attack_block(r, twins(r.source, images)) for r in attacked.results],
    )
    lines: list[AttackLine] = []
    for result in attacked.results:
        right = result.clean_prediction == result.labels
        broken = result.success & right
        sizes = result.distances[broken]
        lines.append(
            AttackLine(
                result.attack,
                result.norm,
                result.eps,
                len(result),
                float((~result.success).float().mean()),
                float(broken.sum() / right.sum().clamp(min=1)),
                float(sizes.median()) if len(sizes) else None,
            )
        )
    about = run.configuration
    first = max(attacked.results, key=len)
    return AttackSummary(
        about["model"],
        about["data"],
        about["split"],
        about["suite"],
        about["seed"],
        float((first.clean_prediction == first.labels).float().mean()),
        tuple(lines),
        str(run.path),
    )
