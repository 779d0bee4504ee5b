"""A small client that keeps a service busy, and what it saw."""

import asyncio
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlsplit

START = 120.0
ENDS = (ConnectionError, asyncio.IncompleteReadError, OSError)


@dataclass
class Seen:
    """What became of requests: seconds of each, its status, and 0 for no answer."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers of status 200 a second."""
        return self.statuses[200] / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds that this share of the requests took at most."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection:
    """One connection that is kept alive, and opened again where the server has closed it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._streams: Any = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request's bytes; returns status and body, or 0 where no answer came."""
        fresh = self._streams is None
        try:
            return await self._ask(request)
        except ENDS:
            self.close()
            if fresh:
                return 0, b""
        return await self.ask(request)  # it had been closed while nobody asked

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def request_of(body: bytes, kind: str, path: str = "/v1/detect") -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def keep_busy(
    url: str, requests: Sequence[bytes], *, concurrency: int, seconds: float
) -> Seen:
    """Ask over ``concurrency`` connections, each time at once after the last answer."""
    seen = Seen()
    began = time.perf_counter()

    async def one(first: int) -> None:
        connection, i = Connection(url), first
        while time.perf_counter() < began + seconds:
            start = time.perf_counter()
            status, _ = await connection.ask(requests[i % len(requests)])
            seen.times.append(time.perf_counter() - start)
            seen.statuses[status] += 1
            i += 1
        connection.close()

    await asyncio.gather(*(one(i) for i in range(concurrency)))
    seen.seconds = time.perf_counter() - began
    return seen


async def arrive(
    url: str,
    requests: Sequence[bytes],
    *,
    rate: float,
    count: int,
    connections: int = 64,
    seed: int = 0,
) -> Seen:
    """Ask ``count`` times, ``rate`` a second on average, whether or not answers have come.

    Arrivals are those of a Poisson process. A request's time runs from when it was due, so that
    a service that falls behind cannot hide it: nor does it, if all ``connections`` are busy.
    """
    free = asyncio.Semaphore(connections)
    seen, generator = Seen(), random.Random(seed)
    idle: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()
    began = due = time.perf_counter()

    async def one(request: bytes, due: float) -> None:
        async with free:
            connection = idle.pop() if idle else Connection(url)
            status, _ = await connection.ask(request)
            idle.append(connection)
        seen.times.append(time.perf_counter() - due)
        seen.statuses[status] += 1

    for i in range(count):
        due += generator.expovariate(rate)
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(requests[i % len(requests)], due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    seen.seconds = time.perf_counter() - began
    for connection in idle:
        connection.close()
    return seen


class Served:
    """A server process: its ``url``, its process, and the seconds from start to ready."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        began = time.perf_counter()
        with log.open("w") as file:
            self.process = subprocess.Popen([sys.executable, *command], stderr=file)
        self.log = log
        while "ready: " not in (text := log.read_text()):
            if self.process.poll() is not None or time.perf_counter() > began + START:
                self.stop()
                raise RuntimeError(f"the server did not get ready: {text}")
            time.sleep(0.01)
        self.ready_s = time.perf_counter() - began
        self.url = "http" + text.partition(" on http")[2].partition("\n")[0]

    @classmethod
    @contextmanager
    def running(cls, command: Sequence[str]) -> Iterator[Self]:
        """Start it, and end it."""
        with TemporaryDirectory() as folder:
            served = cls(command, Path(folder) / "log")
            try:
                yield served
            finally:
                served.stop()

    def stop(self) -> None:
        """End it as an operator does."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()

    def metrics(self) -> dict[str, float]:
        """Read the books."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def resident_mib(self) -> float:
        """Resident memory of the process and those that it started, by Linux's own account."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        processes = [str(self.process.pid), *children.read_text().split()]
        kib = 0
        for process in processes:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            kib += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
        return kib / 1024
