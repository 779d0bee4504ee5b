"""Who computes shards: this process, several on this machine, or a Ray cluster."""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import final

from advdetect.errors import InputError
from advdetect.runs.working import Computed, Failure, Job, Shard, Worker

TRIES = 3

Outcome = tuple[Shard, Computed | Failure]


class Pool(ABC):
    """The workers of one job."""

    @abstractmethod
    def free(self) -> bool:
        """Whether a worker waits for a shard."""

    @abstractmethod
    def give(self, shard: Shard) -> None:
        """Hand a shard to a worker that waits; it comes back from ``wait``, once."""

    @abstractmethod
    def wait(self) -> Sequence[Outcome]:
        """Wait until something happens, and return what became of shards, if that is it.

        A worker that dies is replaced, and its shard comes back as a failure.

        Raises:
            AdvDetectError: no worker can be set up.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop every worker at once."""


class Executor(ABC):
    """Computes shards on some kind of workers, each shard on one of them."""

    @final
    def run(self, shards: Sequence[Shard], job: Job) -> Generator[Outcome, None, None]:
        """Compute shards and yield each once, as it is done.

        A shard that fails, or whose worker dies, is computed again up to two times, after those
        that wait; the third failure is yielded, and the others go on. Workers start when the
        first shard is asked for and are gone when the iterator ends or is closed.

        Args:
            shards: In the order in which they are begun; they are done in any.
            job: How they are computed.

        Raises:
            AdvDetectError: a mistake of the user's, raised by ``job.setup`` or ``job.work``.
            InputError: the job cannot be sent to other processes, or they cannot be set up.
        """
        waiting, failures, given = deque(shards), Counter[str](), 0
        if not waiting:
            return
        with closing(self._open(job, len(waiting))) as pool:
            while waiting or given:
                while waiting and pool.free():
                    pool.give(waiting.popleft())
                    given += 1
                for shard, outcome in pool.wait():
                    given -= 1
                    if isinstance(outcome, Failure):
                        if outcome.mistake is not None:
                            raise outcome.mistake
                        failures[shard.name] += 1
                        if failures[shard.name] < TRIES:
                            waiting.append(shard)
                            continue
                    yield shard, outcome

    @abstractmethod
    def _open(self, job: Job, most: int) -> Pool:
        """Start workers, no more than ``most``."""


@final
class InProcess(Executor):
    """One worker: this process. Nothing is sent anywhere."""

    def _open(self, job: Job, most: int) -> Pool:
        return _OwnPool(Worker(job))


class _OwnPool(Pool):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._shard: Shard | None = None

    def free(self) -> bool:
        return self._shard is None

    def give(self, shard: Shard) -> None:
        self._shard = shard

    def wait(self) -> Sequence[Outcome]:
        shard, self._shard = self._shard, None
        return [] if shard is None else [(shard, self._worker.compute(shard.task))]

    def close(self) -> None:
        pass


def choose_executor(
    workers: int | None = None, ray: str | None = None, *, gpu: bool = False
) -> Executor:
    """Find the executor that a user asked for.

    Args:
        workers: Worker processes. ``None``: one, or as many as the Ray cluster has room for.
        ray: Address of a Ray cluster, ``auto`` for the one that this machine belongs to,
            ``local`` for one that is started here and stopped afterwards.
        gpu: Whether each worker wants a GPU. Local workers share those that there are.

    Raises:
        InputError: fewer than one worker, or Ray is not installed.
    """
    if workers is not None and workers < 1:
        raise InputError(f"expected at least 1 worker, got {workers}")
    if ray is not None:
        from advdetect.runs.ray_cluster import RayCluster

        return RayCluster(ray, workers, gpu=gpu)
    if workers is None or workers == 1:
        return InProcess()
    from advdetect.runs.processes import LocalProcesses

    return LocalProcesses(workers, gpu=gpu)
