"""Workers as actors of a Ray cluster; the importer of Ray."""

import importlib
import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, final

import torch

from advdetect.errors import InputError
from advdetect.runs.executors import TRIES, Executor, Outcome, Pool
from advdetect.runs.folder import versions
from advdetect.runs.working import Computed, Failure, Job, Shard, Worker


@final
class RayCluster(Executor):
    """Workers on the hosts of a Ray cluster, which need no common file system.

    Every host has the same versions of the packages that results depend on, as is checked.

    Args:
        address: ``auto``, ``local`` or a cluster's address.
        workers: At most so many; ``None``: as many as there is room for.
        gpu: A GPU for each worker.
    """

    def __init__(self, address: str, workers: int | None = None, *, gpu: bool = False) -> None:
        self._ray = _ray()
        self._address = address
        self._workers = workers
        self._gpu = gpu

    def _open(self, job: Job, most: int) -> Pool:
        ours = _connect(self._ray, self._address)
        try:
            room = _room(self._ray, job.threads, gpu=self._gpu)
            workers = min(room, most, self._workers or room)
            return _RayPool(self._ray, job, workers, gpu=self._gpu, shutdown=ours)
        except BaseException:
            if ours:
                self._ray.shutdown()
            raise


class _RayPool(Pool):
    def __init__(
        self, ray: ModuleType, job: Job, workers: int, *, gpu: bool, shutdown: bool
    ) -> None:
        self._ray = ray
        self._shutdown = shutdown
        try:
            self._job = ray.put(job)  # once for all workers of a host
        except Exception as error:
            raise InputError(
                f"the model cannot be sent to a Ray cluster ({Failure.of(error).reason}): name it "
                "as package.module:factory"
            ) from error
        self._actor = ray.remote(num_cpus=job.threads, num_gpus=int(gpu), max_restarts=0)(_Actor)
        self._idle: list[Any] = []
        self._pending: dict[Any, tuple[Any, Shard | None]] = {}
        self._stillborn = 0
        for _ in range(workers):
            self._start()

    def free(self) -> bool:
        return bool(self._idle)

    def give(self, shard: Shard) -> None:
        actor = self._idle.pop()
        self._pending[actor.compute.remote(shard.task)] = (actor, shard)

    def wait(self) -> Sequence[Outcome]:
        done, _ = self._ray.wait(list(self._pending), num_returns=1)
        found: list[Outcome] = []
        for reference in done:
            actor, shard = self._pending.pop(reference)
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                found += self._bury(actor, shard, Failure.of(error))
                continue
            self._idle.append(actor)
            if shard is not None:
                found.append((shard, answer))
            else:
                self._stillborn = 0
                _welcome(answer)
        return found

    def _bury(self, actor: Any, shard: Shard | None, failure: Failure) -> list[Outcome]:
        """Start another worker in the place of a lost one, and return its shard as failed."""
        self._ray.kill(actor)  # dead, or on a host that does not answer
        self._stillborn += shard is None
        if self._stillborn >= TRIES:
            raise InputError(
                f"workers of the Ray cluster cannot be set up ({failure.reason}): advdetect and "
                "the model's code must be importable on every host"
            ) from RuntimeError(failure.details)
        self._start()
        return [] if shard is None else [(shard, Failure("its worker died", failure.details))]

    def _start(self) -> None:
        actor = self._actor.remote()
        self._pending[actor.set_up.remote(self._job)] = (actor, None)

    def close(self) -> None:
        for actor in [*self._idle, *(actor for actor, _ in self._pending.values())]:
            with suppress(Exception):  # a cluster that is gone has no workers either
                self._ray.kill(actor)
        if self._shutdown:
            self._ray.shutdown()


class _Actor:
    """A worker in a process of Ray's."""

    def set_up(self, job: Job) -> dict[str, str] | Failure:
        torch.set_num_threads(job.threads)
        try:
            self._worker = Worker(job)
        except Exception as error:
            return Failure.of(error)
        return versions()

    def compute(self, task: Any) -> Computed | Failure:
        return self._worker.compute(task)


def _welcome(answer: dict[str, str] | Failure) -> None:
    """Refuse a worker that was not set up, or that would compute something else.

    Raises:
        InputError: it has other versions of packages, or cannot be set up.
        AdvDetectError: the mistake that ``Job.setup`` raised.
    """
    if isinstance(answer, Failure):
        raise answer.mistake or InputError(
            f"a worker of the Ray cluster cannot be set up ({answer.reason})"
        ) from RuntimeError(answer.details)
    for package, version in versions().items():
        if answer[package] != version:
            raise InputError(
                f"a host of the Ray cluster has {package} {answer[package]}, this one {version}: "
                "results would differ, install one version everywhere"
            )


def _ray() -> ModuleType:
    """Import Ray late: it is optional, and takes a second."""
    # Ray prints on standard output, amid our results, that a worker died, which we say ourselves.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise InputError('Ray is not installed: pip install "advdetect[ray]"') from None


def _connect(ray: ModuleType, address: str) -> bool:
    """Join a cluster, and say whether that is ours to undo."""
    if ray.is_initialized():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray warns of its own future
            ray.init(
                address=address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                **({"include_dashboard": False} if address == "local" else {}),
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster at {address!r}: {Failure.of(error).reason}") from error
    return True


def _room(ray: ModuleType, threads: int, *, gpu: bool) -> int:
    """Count the workers that fit on the hosts of the cluster."""
    hosts = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(
        int(min(host.get("CPU", 0) // threads, host.get("GPU", 0) if gpu else float("inf")))
        for host in hosts
    )
    if room < 1:
        wanted = f"{threads} CPUs" + (" and a GPU" if gpu else "")
        raise InputError(f"no host of the Ray cluster has {wanted}, which a worker needs")
    return room
