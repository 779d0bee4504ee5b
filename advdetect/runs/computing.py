"""Compute the shards of a run folder that are missing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

from torch import Tensor

from advdetect import storage
from advdetect.errors import FileError
from advdetect.runs.executors import Executor
from advdetect.runs.folder import RunFolder
from advdetect.runs.working import Failure, Job, Shard

FAILURES = "failures.txt"


class Track(Protocol):
    """Wraps shards to show progress: it yields them, and counts one as each is asked for."""

    def __call__(self, items: Sequence[Shard], description: str) -> Iterable[Any]: ...


def run_shards(
    run: RunFolder,
    shards: Sequence[Shard],
    setup: Callable[..., Any],
    arguments: tuple[Any, ...],
    work: Callable[[Any, Any], Mapping[str, Tensor]],
    *,
    executor: Executor,
    track: Track,
    description: str,
) -> None:
    """Compute the shards that a run lacks, and write each as soon as it is done.

    Whoever computes a shard, with as many threads as the manifest says, this process alone
    writes it, whole or not at all: workers need no common file system. Stopped anywhere, the
    same call goes on with what is missing.

    Args:
        run: Where the shards are kept.
        shards: All the shards of this kind. Those that the run has are left out; the others
            are begun in this order. Where kinds of different cost alternate, the time that is
            left can be estimated from the first few.
        setup: ``setup(*arguments)`` gives a worker's state, once in each worker. A function at
            the top of a module.
        arguments: What it needs; pickled only for other processes.
        work: ``work(state, shard.task)`` gives the shard's tensors, the same whenever and
            wherever it is called. A function at the top of a module.
        executor: Who computes, see ``choose_executor``.
        track: Shows progress, one step a shard.
        description: What is being done, in one word.

    Raises:
        FileError: some shards failed three times each; all others are written, and what was
            raised stands in the run's ``failures.txt``.
        AdvDetectError: what ``setup`` or ``work`` raised for the user to fix, at once.
    """
    (run.path / FAILURES).unlink(missing_ok=True)
    missing = [shard for shard in shards if not run.has(shard.name)]
    job = Job(setup, arguments, work, run.manifest["threads"])
    failed: dict[str, Failure] = {}
    with closing(executor.run(missing, job)) as outcomes:
        # The tracked items only count: shards are done in any order.
        for _ in track(missing, description):
            shard, outcome = next(outcomes)
            if isinstance(outcome, Failure):
                failed[shard.name] = outcome
                continue
            run.write(shard.name, outcome.tensors)
            run.note_time(shard.name, outcome.seconds)
    if failed:
        raise FileError(_report(run, failed, len(missing)))
    run.tidy()


def _report(run: RunFolder, failed: Mapping[str, Failure], tried: int) -> str:
    """Keep what was raised, and say in one line what failed and how to go on."""
    details = [f"{name}: {failure.reason}\n{failure.details}" for name, failure in failed.items()]
    storage.write_bytes(run.path / FAILURES, "\n".join(details).encode())
    named = [f"{name} ({failure.reason})" for name, failure in failed.items()]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return (
        f"{len(failed)} of {tried} shards failed, three times each: {', '.join(named[:3])}{more}; "
        f"all else is kept, and {run.path / FAILURES} says more: "
        "repeat the same command to try these again"
    )
