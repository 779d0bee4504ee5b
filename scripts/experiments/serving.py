"""An hour's worth of requests at 80 % of the peak: errors, answers that got lost, memory."""

import asyncio
import statistics
from pathlib import Path

from benchmarks.load import Seen, Served, arrive, keep_busy
from benchmarks.serving import PEAK, commands, pictures

from advdetect import storage
from experiments.printing import console, show, track

N = 100_000
SHARE = 0.8
PARTS = 100
WARM = 5  # parts, after which memory counts
ROUNDS, SECONDS = 5, 4.0


def serving(out: Path, _data_root: Path | None) -> None:
    """Measure the peak at concurrency 32, then send ``N`` requests at ``SHARE`` of it."""
    requests = pictures(64)
    ours, _ = commands(threads=1)
    found = Seen()
    memory: list[float] = []
    with Served.running(ours) as served:
        rounds = [
            asyncio.run(keep_busy(served.url, requests, concurrency=PEAK, seconds=SECONDS))
            for _ in range(ROUNDS)
        ]
        peak = statistics.median(seen.rate for seen in rounds)
        before = served.metrics()
        for part in track(range(PARTS), "serving"):
            work = arrive(served.url, requests, rate=SHARE * peak, count=N // PARTS, seed=part)
            seen = asyncio.run(work)
            found.times += seen.times
            found.statuses += seen.statuses
            found.seconds += seen.seconds
            memory.append(served.resident_mib())
        after = served.metrics()
    key = "advdetect_inputs_total"
    booked = int(after[key] - before[key])
    warm, last = memory[WARM - 1], memory[-1]
    errors = found.statuses.total() - found.statuses[200] - found.statuses[0]
    figures = {
        "n": found.statuses.total(),
        "peak_per_s": peak,
        "sent_per_s": SHARE * peak,
        "answered_per_s": found.rate,
        "statuses": {str(status): n for status, n in sorted(found.statuses.items())},
        "judged_by_the_books": booked,
        **{f"p{q}_s": found.quantile(q / 100) for q in (50, 95, 99)},
        "memory_mib": memory,
    }
    storage.write_json(out / "serving.json", figures)
    show(
        f"n = {figures['n']:,} at {SHARE:.0%} of the peak ({peak:.0f} /s at concurrency {PEAK})",
        ("errors", "lost", "judged by the books", "p50", "p95", "p99", "memory, MiB", "growth"),
        [
            (
                errors,
                found.statuses[0],
                f"{booked:,}",
                *(f"{1000 * found.quantile(q):.0f} ms" for q in (0.5, 0.95, 0.99)),
                f"{warm:.0f}, {last:.0f}",
                f"{last / warm - 1:+.1%}",
            )
        ],
        out / "serving.md",
    )
    console.print(f"figures: {out / 'serving.json'}")
