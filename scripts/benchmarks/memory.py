"""What work takes at its peak, by the system's own account."""

import ctypes
import gc
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

MIB = 1 << 20


def rise_mib(work: Callable[[], object]) -> float:
    """How far resident memory rises during one call, in MiB."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # else memory freed earlier is taken again without a rise
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from now
        before = _resident_kib("VmRSS")
        work()
        return (_resident_kib("VmHWM") - before) / 1024
    except OSError:  # no such files: only a rise above the process's own peak can be seen
        before = _process_peak_mib()
        work()
        return _process_peak_mib() - before


def in_fresh_process(
    work: Callable[..., Tensor], *sizes: int, threads: int
) -> tuple[float, Tensor, float]:
    """Run work in a process of its own, libraries and input included.

    Args:
        work: A function of a module, which makes its input itself, and returns seconds and
            numbers in one tensor, seconds first.
        sizes: Its arguments.
        threads: How many torch may use.

    Returns:
        Seconds, the other numbers, and the process's peak in MiB.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        numbers, peak = pool.submit(_measured, work, sizes, threads).result()
    return numbers[0], torch.tensor(numbers[1:]), peak


def seconds_and(work: Callable[[], Tensor]) -> Tensor:
    """Call work, and put its seconds before its answer."""
    start = time.perf_counter()
    answer = work().double().reshape(-1)
    return torch.cat([torch.tensor([time.perf_counter() - start], dtype=torch.float64), answer])


def _measured(
    work: Callable[..., Tensor], sizes: tuple[int, ...], threads: int
) -> tuple[list[float], float]:
    torch.set_num_threads(threads)
    return work(*sizes).tolist(), _process_peak_mib()


def _process_peak_mib() -> float:
    try:
        # Not ru_maxrss where there is a choice: a child starts with its parent's there.
        return _resident_kib("VmHWM") / 1024
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def _resident_kib(field: str) -> int:
    """Read a field of Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
