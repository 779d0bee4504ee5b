"""What an evaluation costs on many machines: measured chunks, dealt out to simulated workers."""

import heapq
from collections import defaultdict
from pathlib import Path

import numpy as np

from advdetect import storage
from advdetect.errors import FileError
from experiments.printing import show

EXAMPLES = (1_000, 10_000)
HOSTS = (1, 4, 16)
WORKERS = 8  # on each host, a core each
START = 10.0  # seconds until a worker is set up

Kinds = dict[str, list[float]]


def costs(out: Path, _data_root: Path | None) -> None:
    """Read timings.json of a finished run of ``knowing``; simulate that work on a cluster."""
    file = out / "timings.json"
    if not file.is_file():
        raise FileError(f"no {file}: run scripts/reproduce.py knowing first, and give its --out")
    attacks, knowing = by_attack(storage.read_json(file))
    rows = []
    for title, kinds, size in (
        ("suite standard", attacks, 100),
        ("suite adaptive", knowing, 50),
    ):
        for n in EXAMPLES:
            chunks = dealt(kinds, n / size)
            core = sum(chunks) / 3600
            walls = [clock(chunks, hosts * WORKERS) for hosts in HOSTS]
            rows.append((title, f"{n:,}", f"{core:.1f}", *(f"{w / 60:.0f} min" for w in walls)))
    show(
        f"Simulated: {WORKERS} workers a host, one core each, {START:g} s to set one up; seconds "
        "of each chunk drawn from those measured",
        ("work", "examples", "core hours", *(f"{h} host{'s' * (h > 1)}" for h in HOSTS)),
        rows,
        out / "costs.md",
    )


def by_attack(timings: dict[str, float]) -> tuple[Kinds, Kinds]:
    """Seconds of each chunk, by attack and budget: of the suite, and of knowing attacks."""
    attacks: Kinds = defaultdict(list)
    knowing: Kinds = defaultdict(list)
    for shard, seconds in timings.items():
        place, _, name = shard.rpartition("/")
        kind = name.rpartition("-")[0]
        if "restarts" in kind or "steps" in kind or place not in ("", "knowing-logistic"):
            continue
        (knowing if place else attacks)[kind].append(seconds)
    return attacks, knowing


def dealt(kinds: Kinds, chunks: float) -> list[float]:
    """Seconds of every chunk of a larger run, attacks in turn, each drawn from its own."""
    generator = np.random.default_rng(0)
    most = max(map(len, kinds.values()))
    drawn = []
    for seconds in kinds.values():
        # Dear attacks run on a part of the images: their share of chunks stays as it was.
        count = max(1, round(chunks * len(seconds) / most))
        drawn.append(generator.choice(seconds, count).tolist())
    longest = max(map(len, drawn))
    return [own[i] for i in range(longest) for own in drawn if i < len(own)]


def clock(chunks: list[float], workers: int) -> float:
    """Seconds until all is done, the next chunk always to the worker that is free first."""
    free = [START] * workers
    for seconds in chunks:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
