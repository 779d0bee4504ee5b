"""What a guard costs behind a server, beside the bare model behind the same one."""

import asyncio
import json
import statistics
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from advdetect import data
from benchmarks.comparing import Row, Scope
from benchmarks.load import Connection, Seen, Served, arrive, keep_busy, request_of

MODEL = "fashion-resnet"
BARE = "bare model"
CONCURRENCY = (1, 8, 32, 64, 128)
PEAK = 32
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ROUNDS, SECONDS = 5, 3.0
PICTURES = 64
REQUEST = "a request"


def served_requests(scope: Scope) -> Iterator[Row]:
    """Start to ready, then rounds of load in turn, at each concurrency and at half the peak."""
    requests = pictures(PICTURES)
    ours, bare = commands(scope.threads)
    rounds, seconds = (1, 0.5) if scope.quick else (ROUNDS, SECONDS)
    with Served.running(ours) as guarded, Served.running(bare) as plain:
        ready = [[guarded.ready_s], [plain.ready_s]]
        for _ in range(rounds - 1):
            for command, taken in zip((ours, bare), ready, strict=True):
                with Served.running(command) as another:
                    taken.append(another.ready_s)
        apart = asyncio.run(differ(guarded.url, plain.url, requests))
        memory = guarded.resident_mib()
        yield row("start to ready", *map(statistics.median, ready), apart, memory)
        peak = 0.0
        for concurrency in CONCURRENCY[:2] if scope.quick else CONCURRENCY:
            found: list[list[Seen]] = [[], []]
            for _ in range(rounds):
                for server, seen in zip((guarded, plain), found, strict=True):
                    work = keep_busy(server.url, requests, concurrency=concurrency, seconds=seconds)
                    seen.append(asyncio.run(work))
            yield from load_rows(f"concurrency {concurrency}", found, guarded.resident_mib())
            peak = max(peak, statistics.median(seen.rate for seen in found[0]))
        found = [[], []]
        for i in range(rounds):
            for server, seen in zip((guarded, plain), found, strict=True):
                # Twice the seconds of the rounds above: tails need many requests.
                count = int(peak * seconds)
                half = arrive(server.url, requests, rate=peak / 2, count=count, seed=i)
                seen.append(asyncio.run(half))
        yield from load_rows(f"half of the peak, {peak / 2:.0f} /s", found, guarded.resident_mib())


def load_rows(case: str, found: Sequence[Sequence[Seen]], memory: float) -> Iterator[Row]:
    """Medians over rounds: the time of a request at this rate, and quantiles of latency."""
    failed = sum(seen.statuses.total() - seen.statuses[200] for both in found for seen in both)
    if failed:
        raise RuntimeError(f"{case}: {failed} requests were not answered with 200")
    n = sum(len(seen.times) for seen in found[0])
    rates = [statistics.median(1 / seen.rate for seen in both) for both in found]
    yield row(f"{case}: {REQUEST} (n = {n})", *rates, None, memory)
    for name, share in QUANTILES.items():
        latencies = [statistics.median(seen.quantile(share) for seen in both) for both in found]
        yield row(f"{case}: {name}", *latencies, None, memory)


def row(
    case: str, ours_s: float, rival_s: float, apart: float | None, peak_mib: float | None
) -> Row:
    """A case; memory is the guarded server's, resident."""
    return Row(case, ours_s, BARE, rival_s, rival_s / ours_s, apart, peak_mib)


def throughput(rows: Sequence[Row]) -> str:
    """Requests a second, and the share of the bare model's that is left."""
    lines = []
    for found in rows:
        if REQUEST in found.case and found.ours_s and found.rival_s:
            case = found.case.partition(":")[0]
            ours, bare = 1 / found.ours_s, 1 / found.rival_s
            lines.append(
                f"{case}: {ours:.0f} requests a second, bare model {bare:.0f}: {ours / bare:.2f}"
            )
    return "\n".join(lines)


def pictures(n: int) -> list[bytes]:
    """Requests of a PNG each, evaluation images of Fashion-MNIST."""
    images = (data.load("fashion-mnist", split="evaluation", limit=n).images[:, 0] * 255).round()
    requests = []
    for image in images.to(torch.uint8).numpy():
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        requests.append(request_of(file.getvalue(), "image/png"))
    return requests


def commands(threads: int) -> tuple[list[str], list[str]]:
    """Ours, and the bare model's."""
    ours = ["-m", "advdetect", "serve", MODEL, "--port", "0", "--threads", str(threads)]
    return ours, [str(Path(__file__).with_name("bare_server.py")), MODEL, str(threads)]


async def differ(ours: str, bare: str, requests: Sequence[bytes]) -> float:
    """Largest difference of the confidence that two servers give."""
    apart = 0.0
    ends = Connection(ours), Connection(bare)
    for request in requests:
        both = [json.loads((await end.ask(request))[1])["results"][0] for end in ends]
        apart = max(apart, abs(both[0]["confidence"] - both[1]["confidence"]))
    for end in ends:
        end.close()
    return apart
