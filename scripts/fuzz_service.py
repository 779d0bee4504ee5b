#!/usr/bin/env python
"""Send a service damaged pictures and bodies: scripts/fuzz_service.py [--count 10000] [--seed 0].

It starts advdetect serve, sends what a seeded mutator makes of good requests, and ends with status
1 if the service crashed, answered with 5xx other than 503, left anything unanswered, took more
than 5 % more memory after the first tenth, or kept other books than this client.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.load import Connection, Served, request_of

from advdetect import data
from tests.service.mutating import good_requests, mutate

MODEL = "fashion-resnet"


async def send(url: str, requests: list[bytes], statuses: Counter[int]) -> None:
    """Send them over one connection."""
    connection = Connection(url)
    for request in requests:
        statuses[(await connection.ask(request))[0]] += 1
    connection.close()


def main() -> int:
    """Run, print, and say by the status how it went."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    images = data.load("fashion-mnist", split="evaluation", limit=2).images
    good = good_requests(images, MODEL)
    made = [good[i % len(good)] for i in range(arguments.count)]
    requests = [request_of(mutate(body, generator), kind, path) for path, kind, body in made]
    command = ["-m", "advdetect", "serve", MODEL, "--port", "0", "--threads", "1"]
    statuses: Counter[int] = Counter()
    warm = arguments.count // 10
    with Served.running(command) as served:
        asyncio.run(send(served.url, requests[:warm], statuses))
        before = served.resident_mib()
        asyncio.run(send(served.url, requests[warm:], statuses))
        after = served.resident_mib()
        alive = served.process.poll() is None
        books = served.metrics()
        traces = served.log.read_text().count("Traceback")
    posts = ('advdetect_requests_total{route="/v1', 'advdetect_requests_total{route="/v2')
    booked = int(sum(value for name, value in books.items() if name.startswith(posts)))
    growth = after / before - 1
    bad = sum(n for status, n in statuses.items() if status >= 500 and status != 503)
    print(f"n = {arguments.count}, seed {arguments.seed}: {dict(sorted(statuses.items()))}")
    print(f"5xx other than 503: {bad}; without an answer: {statuses[0]}; tracebacks: {traces}")
    print(f"client's count {statuses.total()}, books' {booked}; alive: {alive}")
    print(f"memory {before:.0f} MiB after {warm}, {after:.0f} at the end: {growth:+.1%}")
    good_end = alive and not bad and not statuses[0] and not traces and growth < 0.05
    return 0 if good_end and booked == statuses.total() else 1


if __name__ == "__main__":
    sys.exit(main())
