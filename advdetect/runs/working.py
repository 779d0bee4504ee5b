"""What a worker does, wherever it runs: it is set up once, and then computes shard after shard."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from safetensors.torch import load, save
from torch import Tensor

from advdetect.errors import AdvDetectError


@dataclass(frozen=True)
class Shard:
    """A part of a run that is computed by one worker and written whole.

    Attributes:
        name: The shard's name in the run folder.
        task: What ``Job.work`` is given: small, and it can be pickled.
    """

    name: str
    task: Any


@dataclass(frozen=True)
class Job:
    """How shards are computed.

    Attributes:
        setup: Called once by each worker with ``arguments``; returns its state, such as a model
            and images. A function at the top of a module, so that other processes find it.
        arguments: They can be pickled, unless all is computed in this process.
        work: ``work(state, task)`` gives the tensors of a shard by name. It depends on nothing
            but its arguments, and leaves the state as it was. At the top of a module as well.
        threads: Threads of each worker's tensor operations: sums differ in the last digit
            between numbers of threads.
    """

    setup: Callable[..., Any]
    arguments: tuple[Any, ...]
    work: Callable[[Any, Any], Mapping[str, Tensor]]
    threads: int


@dataclass(frozen=True, eq=False)
class Computed:
    """A shard's tensors, and the seconds that they took."""

    tensors: Mapping[str, Tensor]
    seconds: float

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes as plain bytes: a pickled tensor would take the memory that it is a
        # view of along, and one in shared memory would be lost with the worker.
        own = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.tensors.items()
        }
        return type(self)._unpack, (save(own), self.seconds)

    @classmethod
    def _unpack(cls, content: bytes, seconds: float) -> Self:
        return cls(load(content), seconds)


@dataclass(frozen=True)
class Failure:
    """Why a worker could not be set up, or a shard not be computed.

    Attributes:
        reason: In one line.
        details: The traceback, if there is one.
        mistake: An error that the user can fix, which trying again does not.
    """

    reason: str
    details: str = ""
    mistake: AdvDetectError | None = field(default=None)

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Describe an exception that was just caught."""
        first = (str(error).splitlines() or [""])[0][:200]
        reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
        mistake = error if isinstance(error, AdvDetectError) else None
        return cls(reason, traceback.format_exc(), mistake)


class Worker:
    """A job's state in this process, and its work on one shard at a time."""

    def __init__(self, job: Job) -> None:
        self._work = job.work
        self._state = job.setup(*job.arguments)

    def compute(self, task: Any) -> Computed | Failure:
        """Compute one shard; only what stops a process is raised."""
        started = time.perf_counter()
        try:
            tensors = self._work(self._state, task)
        except Exception as error:
            return Failure.of(error)
        return Computed(tensors, time.perf_counter() - started)
