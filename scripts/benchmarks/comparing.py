"""Ours and its rivals on the same work, in turn."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.memory import rise_mib

INSTALL = "pip install -e '.[bench]'"
BUDGET_S = 60.0  # nothing is timed again once it has taken this long

Work = Callable[[], Tensor | None]


@dataclass(frozen=True)
class Scope:
    """How much of a benchmark to run.

    Args:
        quick: Small sizes and one round, for tests.
        full: Also the cases that take minutes.
        figure: Where a figure goes.
        threads: How many everyone may use.
    """

    quick: bool
    full: bool
    figure: Path
    threads: int


@dataclass(frozen=True)
class Row:
    """One case against one rival; the names are those of the JSON file, ``None`` is unknown."""

    case: str
    ours_s: float | None
    rival: str
    rival_s: float | None
    ratio: float | None
    max_abs_difference: float | None
    peak_mib: float | None


@dataclass(frozen=True)
class Rival:
    """Another way to the same answer.

    Args:
        name: As people know it.
        work: Returns the answer, to be compared, or ``None`` where it has none to compare.
        module: What must be installed for it.
    """

    name: str
    work: Work
    module: str | None = None

    @property
    def installed(self) -> bool:
        return self.module is None or find_spec(self.module) is not None


def compare(
    scope: Scope, case: str, ours: Work, rivals: Sequence[Rival], *, repetitions: int = 5
) -> Iterator[Row]:
    """Time ours in turn with every rival: ours, first, second, ours, first, second, ...

    Seconds are medians. A first round, which is not counted, gives the answers. A rival that
    has taken ``BUDGET_S`` is not timed again, but once in any case.
    """
    limit_threads(scope.threads)
    answer = ours()
    peak = rise_mib(ours)
    present = [rival for rival in rivals if rival.installed]
    spent, differences = {}, {}
    for rival in present:
        limit_threads(scope.threads)
        start = time.perf_counter()
        differences[rival.name] = difference(answer, rival.work())
        spent[rival.name] = time.perf_counter() - start
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *spent)}
    for _ in range(1 if scope.quick else repetitions):
        seconds["ours"].append(timed(ours, scope.threads))
        for rival in present:
            taken = seconds[rival.name]
            if not taken or spent[rival.name] < BUDGET_S:
                taken.append(timed(rival.work, scope.threads))
                spent[rival.name] += taken[-1]
    ours_s = statistics.median(seconds["ours"])
    for rival in rivals:
        if not rival.installed:
            yield Row(case, ours_s, missing(rival), None, None, None, peak)
            continue
        rival_s = statistics.median(seconds[rival.name])
        apart = differences[rival.name]
        yield Row(case, ours_s, rival.name, rival_s, rival_s / ours_s, apart, peak)


def once(scope: Scope, case: str, ours: Work, rivals: Sequence[Rival]) -> Iterator[Row]:
    """Run ours and every rival a single time: for work of minutes, where warming up is nothing."""
    spent: dict[str, float] = {}

    def run() -> None:
        spent["ours"] = timed(ours, scope.threads)

    peak = rise_mib(run)
    for rival in rivals:
        if not rival.installed:
            yield Row(case, spent["ours"], missing(rival), None, None, None, peak)
            continue
        rival_s = timed(rival.work, scope.threads)
        ratio = rival_s / spent["ours"]
        yield Row(case, spent["ours"], rival.name, rival_s, ratio, None, peak)


def missing(rival: Rival) -> str:
    """What stands in the place of a rival that is not installed."""
    return f"{rival.name}: not installed, {INSTALL}"


def difference(ours: Tensor | None, rival: Tensor | None) -> float | None:
    """Largest absolute difference of two answers."""
    if ours is None or rival is None:
        return None
    if ours.shape != rival.shape:
        raise ValueError(f"answers of unlike shapes: {tuple(ours.shape)}, {tuple(rival.shape)}")
    return (ours.double() - rival.double()).abs().max().item()


def limit_threads(threads: int) -> None:
    """Give torch, BLAS and OpenMP this many threads, whatever was set before.

    Before every call: Numba, which dcor brings, raises the number for all when it first runs.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def timed(work: Callable[[], object], threads: int) -> float:
    """Seconds of one call."""
    limit_threads(threads)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
