#!/usr/bin/env python
"""Time advdetect beside its rivals: scripts/benchmark.py NAME [--json FILE] [--quick].

Ours and each rival do the same work in one process, in turn (ours, rival, ours, rival, ...);
seconds are medians. A ratio above 1 means that ours is faster. The peak is how far resident
memory rises above where it stood, while ours runs once.
"""

import argparse
import ctypes
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from advdetect import data, storage, vision
from advdetect.errors import AdvDetectError
from advdetect.features import record
from advdetect.guard import Guard
from advdetect.workflows.guards import load_guard

MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One case against one rival; the names are those of the JSON file."""

    case: str
    ours_s: float
    rival: str
    rival_s: float
    ratio: float
    max_abs_difference: float
    peak_mib: float


def compare(
    case: str,
    ours: Callable[[], Tensor],
    rivals: Mapping[str, Callable[[], Tensor]],
    *,
    repetitions: int,
) -> Iterator[Row]:
    """Time ours in turn with each rival; both return what they computed, to be compared."""
    ours()
    peak = peak_mib(ours)
    for name, rival in rivals.items():
        difference = (ours() - rival()).abs().max().item()
        seconds: dict[str, list[float]] = {"ours": [], "rival": []}
        for _ in range(repetitions):
            seconds["ours"].append(timed(ours))
            seconds["rival"].append(timed(rival))
        ours_s, rival_s = (statistics.median(seconds[who]) for who in ("ours", "rival"))
        yield Row(case, ours_s, name, rival_s, rival_s / ours_s, difference, peak)


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_mib(work: Callable[[], object]) -> float:
    """How far resident memory rises during one call, in MiB."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # else memory freed earlier is taken again without a rise
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from now
        before = resident_kib("VmRSS")
        work()
        return (resident_kib("VmHWM") - before) / 1024
    except OSError:  # no such files: only a rise above the process's own peak can be seen
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / MIB


def resident_kib(field: str) -> int:
    """Read a field of Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def recorded_passes(quick: bool) -> Iterator[Row]:
    """A forward pass under ``record``, its block included, against a plain one."""
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for name in ("resnet18", "vgg11_bn", "mobilenet_v2", "convnext_tiny", "vit_b_16"):
        model = vision.model(name)
        ours, rivals = partial(recorded, model, images), {"plain": partial(plain, model, images)}
        yield from compare(f"{name}, 224 px", ours, rivals, repetitions=3 if quick else 40)


def plain(model: nn.Module, images: Tensor) -> Tensor:
    """A pass and nothing else."""
    with torch.no_grad():
        return model(images)


def recorded(model: nn.Module, images: Tensor) -> Tensor:
    """A pass whose pre-activations are kept."""
    with torch.no_grad(), record(model):
        return model(images)


def guard_overhead(quick: bool) -> Iterator[Row]:
    """A guard's verdicts, forward pass included, against the pass alone; ratio is its inverse."""
    guard = load_guard("fashion-resnet")
    images = data.load("fashion-mnist", split="evaluation", limit=256).images
    # Untrained weights, and a detector fitted without attacks: neither changes the time.
    torch.manual_seed(0)
    large = data.load("fashion-mnist", split="reference", limit=100, resize=(224, 224), channels=3)
    wide = Guard.fit(vision.model("resnet18"), large.images, false_alarm_rate=0.05)
    cases = [("fashion-resnet", guard, images[:n]) for n in (1, 256)]
    cases += [("resnet18, 224 px", wide, large.images[:n]) for n in (1, 32)]
    for name, used, batch in cases:
        ours = partial(judged, used, batch)
        rivals = {"plain": partial(predicted, used.model, batch)}
        case = f"{name}, batch {len(batch)}"
        yield from compare(case, ours, rivals, repetitions=3 if quick else 15)


def judged(guard: Guard, images: Tensor) -> Tensor:
    """Classes, with verdicts beside them."""
    return guard(images).label.float()


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Classes and nothing else."""
    return plain(model, images).argmax(1).float()


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "record": recorded_passes,
    "overhead": guard_overhead,
}


def main() -> None:
    """Run one benchmark and print its rows as they come."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: a smoke test")
    parser.add_argument("--threads", type=int, default=1, help="of torch's (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    progress = Console(stderr=True)
    with progress.status("timing") as status:
        for row in BENCHMARKS[arguments.name](arguments.quick):
            rows.append(row)
            status.update(f"timed {row.case}")
    console = Console()
    console.width = max(console.width, 100)  # a pipe has 80, which folds the rows
    console.print(as_table(rows))
    if arguments.json is not None:
        content = {"benchmark": arguments.name, "rows": [asdict(row) for row in rows]}
        storage.write_json(arguments.json, content)


def as_table(rows: list[Row]) -> Table:
    """Rows for people."""
    table = Table("case", "ours", "rival", "its time", "rival / ours", "difference", "peak")
    for row in rows:
        table.add_row(
            row.case,
            f"{row.ours_s * 1000:.2f} ms",
            row.rival,
            f"{row.rival_s * 1000:.2f} ms",
            f"{row.ratio:.3f}",
            f"{row.max_abs_difference:.1e}",
            f"{row.peak_mib:.0f} MiB",
        )
    return table


if __name__ == "__main__":
    try:
        main()
    except AdvDetectError as error:
        sys.exit(f"error: {error}")
