"""Workers as processes of this machine, which may be killed at any time."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from typing import Any, final

import torch

from advdetect.errors import InputError
from advdetect.runs.executors import TRIES, Executor, Outcome, Pool
from advdetect.runs.working import Failure, Job, Shard, Worker

# Forked processes would inherit locks and threads in whatever state they are.
_SPAWN = multiprocessing.get_context("spawn")


@final
class LocalProcesses(Executor):
    """Workers that are processes of their own, started afresh.

    A job reaches them pickled, through a pipe from their parent; no file is unpickled.

    Args:
        workers: How many.
        gpu: Share out this machine's GPUs among them, one to each.
    """

    def __init__(self, workers: int, *, gpu: bool = False) -> None:
        self._workers = workers
        self._gpu = gpu

    def _open(self, job: Job, most: int) -> Pool:
        try:
            content = pickle.dumps(job)
        except Exception as error:  # whatever the parts of a user's model raise
            raise InputError(
                f"the model cannot be sent to other processes ({Failure.of(error).reason}): use "
                "one worker, or name the model as package.module:factory"
            ) from error
        gpus = torch.cuda.device_count() if self._gpu else 0
        return _ProcessPool(content, min(self._workers, most), gpus)


class _Process:
    """One worker seen from its parent."""

    def __init__(self, number: int, gpus: int) -> None:
        self.number = number
        self.connection, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(
            target=_serve, args=(theirs, number % gpus if gpus else None), daemon=True
        )
        with _without_interrupts():
            self.process.start()
        theirs.close()
        self.ready = False
        self.shard: Shard | None = None

    def stop(self) -> str:
        """Make sure that it is gone, and say how it ended."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        self.connection.close()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


class _ProcessPool(Pool):
    def __init__(self, job: bytes, workers: int, gpus: int) -> None:
        self._job = job
        self._gpus = gpus
        self._stillborn = 0
        self._workers: list[_Process] = []
        try:
            for number in range(workers):
                self._workers.append(_Process(number, gpus))
        except BaseException:
            self.close()
            raise

    def free(self) -> bool:
        return any(worker.ready and worker.shard is None for worker in self._workers)

    def give(self, shard: Shard) -> None:
        worker = next(w for w in self._workers if w.ready and w.shard is None)
        worker.shard = shard
        with suppress(OSError):  # it has just died, as wait will find
            worker.connection.send_bytes(pickle.dumps(shard.task))

    def wait(self) -> Sequence[Outcome]:
        talking = connection.wait([worker.connection for worker in self._workers])
        found: list[Outcome] = []
        for worker in [w for w in self._workers if w.connection in talking]:
            try:
                message = pickle.loads(worker.connection.recv_bytes())
            except (EOFError, OSError):
                found += self._bury(worker)
                continue
            if worker.shard is not None:
                found.append((worker.shard, message))
                worker.shard = None
            elif message == _STARTED:
                with suppress(OSError):
                    worker.connection.send_bytes(self._job)
            elif message == _READY:
                worker.ready, self._stillborn = True, 0
            else:
                raise message.mistake or InputError(
                    f"a worker process cannot be set up ({message.reason}): what it needs must be "
                    "importable there, a model's class included; or use one worker"
                ) from RuntimeError(message.details)
        return found

    def _bury(self, worker: _Process) -> list[Outcome]:
        """Start another worker in the place of a dead one, and return its shard as failed."""
        worker.process.join(1)  # its end of the pipe is closed a moment before it ends
        end = worker.stop()
        self._stillborn += not worker.ready
        if self._stillborn >= TRIES:
            self._workers.remove(worker)
            raise InputError(
                f"worker processes die while they start ({end}): a script of yours needs its own "
                'code under if __name__ == "__main__":, and each worker memory for the model'
            )
        place = self._workers.index(worker)
        del self._workers[place]
        self._workers.insert(place, _Process(worker.number, self._gpus))
        shard = worker.shard
        return [] if shard is None else [(shard, Failure(f"its worker died ({end})"))]

    def close(self) -> None:
        while self._workers:
            self._workers.pop().stop()


_STARTED, _READY = "started", "ready"


def _serve(parent: connection.Connection, gpu: int | None) -> None:
    """Be a worker: receive a job, then tasks, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and stops it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else [str(i) for i in range(gpu + 1)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[gpu]
    # The job comes once this process listens: the parent is not to wait while it starts.
    with suppress(EOFError, OSError):  # the parent is gone
        parent.send_bytes(pickle.dumps(_STARTED))
        worker = _set_up(parent.recv_bytes())
        parent.send_bytes(pickle.dumps(worker if isinstance(worker, Failure) else _READY))
        while isinstance(worker, Worker):
            task = pickle.loads(parent.recv_bytes())
            parent.send_bytes(pickle.dumps(worker.compute(task)))


def _set_up(content: bytes) -> Worker | Failure:
    try:
        job: Job = pickle.loads(content)
        torch.set_num_threads(job.threads)
        return Worker(job)
    except Exception as error:
        return Failure.of(error)


def _end_with_parent() -> None:
    """Stop at once when the parent is gone, also in the middle of a shard."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, not even before their first line runs."""
    mask: Any = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        yield
        return
    resource_tracker.ensure_running()  # it starts with the first process and lifts the mask
    before = mask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)
