"""The supervisor of several workers: starts them, replaces them, speaks to all, keeps the books.

It imports neither torch nor the web framework, so that it costs next to nothing and has little
that could fail.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import shutil
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

from advdetect.errors import AdvDetectError
from advdetect.service.books import SUPERVISOR, SharedBooks
from advdetect.service.false_warnings import share_of_rate
from advdetect.service.hands import Hand
from advdetect.service.links import Link
from advdetect.service.listening import address_of
from advdetect.service.metrics import Metrics
from advdetect.service.settings import GRACE
from advdetect.service.working import Post, work

log = logging.getLogger("advdetect.service")

# In a row, before the service gives up that has no other worker.
ATTEMPTS = 5
# Seconds: a worker that served so long may fail again without being made to wait for it.
STEADY = 60.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class NeverReadyError(AdvDetectError):
    """No worker gets ready."""


class Supervisor:
    """Workers 1 to ``workers`` on one listening socket.

    Every guard is put aside before it is served: a worker that replaces another serves what the
    others serve, whatever has become of the guard's folder meanwhile. Another guard is served by
    all workers or, if any of them refuses it, by none.

    Args:
        post: What workers are started with; number and share of drift's rate are filled in.
        workers: How many.
        listening: The bound socket.
        folder: For books and guards.
        tell: Told where the service listens.
    """

    def __init__(
        self,
        post: Post,
        workers: int,
        listening: socket.socket,
        folder: Path,
        *,
        tell: Callable[[str], None],
    ) -> None:
        self._post = post
        self._workers = workers
        self._listening = listening
        self._guards = folder / "guards"
        self._guards.mkdir()
        self._books = SharedBooks(post.books)
        self._books.join(SUPERVISOR)
        self._metrics = Metrics(self._books)
        self._books.leave(SUPERVISOR)  # it counts, but has no queue and no guard
        self._tell = tell
        self._context = multiprocessing.get_context("spawn")
        self._hands: dict[int, Hand] = {}
        self._lost: dict[int, int] = {}
        self._copy: Path | None = None
        self._copies = 0
        self._about: tuple[str, ...] = ()
        self._announced = False
        self._changing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until a signal.

        Raises:
            AdvDetectError: the guard is refused at the start.
            NeverReadyError: no worker gets ready.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._soon(self._reload()))
        keeping = [asyncio.create_task(self._keep(i + 1)) for i in range(self._workers)]
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([*keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        for hand in self._hands.values():
            if not hand.ended:
                hand.process.terminate()
        results = await asyncio.gather(*keeping, return_exceptions=True)
        requests = self._books.total("advdetect_requests_total")
        lost = self._books.total("advdetect_requests_lost_total")
        inputs = self._books.total("advdetect_inputs_total")
        log.info(
            "stopped: %d requests answered, %d inputs judged, %d requests lost",
            requests,
            inputs,
            lost,
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            raise failed[0]

    async def _keep(self, number: int) -> None:
        """Keep a worker of this number, one after another."""
        failures = life = 0
        while not self._stopping.is_set():
            life += 1
            hand = self._hire(number, life)
            began = time.monotonic()
            await self._bring_up(number, hand)
            served = hand.serves
            status = await hand.end(self._stopping, self._post.settings.timeout + 2 * GRACE)
            self._enter_end(number)
            if self._stopping.is_set():
                return
            self._metrics.restarts.inc()
            failures = 0 if served and time.monotonic() - began > STEADY else failures + 1
            how = f"by signal {-status}" if status is not None and status < 0 else f"with {status}"
            pause = 0.0 if failures < 2 else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 2))
            log.error(
                "worker %d ended %s%s; another one starts in %g s",
                number,
                how,
                "" if served else " before it was ready",
                pause,
            )
            if failures >= ATTEMPTS and not any(other.serves for other in self._hands.values()):
                raise NeverReadyError(
                    f"no worker gets ready, after {failures} attempts: the log says why"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    def _hire(self, number: int, life: int) -> Hand:
        ours, theirs = self._context.Pipe()
        rate = share_of_rate(self._post.drift_rate, self._workers, life)
        post = replace(self._post, number=number, drift_rate=rate)
        process = self._context.Process(
            target=work, args=(post, self._listening, theirs), name=f"advdetect-{number}"
        )
        process.daemon = True
        process.start()
        theirs.close()
        self._hands[number] = Hand(process, Link(ours), self._asked)
        return self._hands[number]

    def _asked(self, hand: Hand) -> None:
        self._soon(self._reload(hand))

    async def _bring_up(self, number: int, hand: Hand) -> None:
        """Have a new worker load what the others serve, and serve."""
        try:
            await hand.up()
            async with self._changing:
                if self._copy is None:
                    copy = self._place()
                    await hand.order("take", str(copy))
                    self._copy = copy
                name, fingerprint = await hand.load(self._copy)
                if not self._about:
                    self._tell(f"serving {name} on {address_of(self._listening)}")
                self._about = (name, fingerprint)
                await hand.order("put")
                hand.serves = not hand.ended
        except EOFError:
            return
        except AdvDetectError as error:
            hand.process.terminate()
            if not self._announced:
                raise  # the guard is no good: no worker will fare better
            log.error("worker %d refuses the guard: %s", number, error)
            return
        if not self._announced and len(self._serving()) == self._workers:
            self._announced = True
            log.info("ready: guard %s, fingerprint %s, %d workers", *self._about, self._workers)
        elif self._announced:
            log.info("worker %d serves", number)

    def _enter_end(self, number: int) -> None:
        """Enter what a worker took with it, and drop what held while it lived."""
        accepted, answered, lost = self._books.requests(number)
        missing = accepted - answered - lost - self._lost.get(number, 0)
        if missing > 0:
            log.error("worker %d took %d accepted requests with it", number, missing)
            self._metrics.lost.inc(missing)
            self._lost[number] = self._lost.get(number, 0) + missing
        self._books.leave(number)

    async def _reload(self, asker: Hand | None = None) -> None:
        """Have all workers load the guard anew; if one cannot, all go on with the old one."""
        async with self._changing:
            error = await self._reload_all()
        self._metrics.reloads.labels("loaded" if error is None else "refused").inc()
        if error is None:
            log.info("loaded guard %s, fingerprint %s", *self._about)
        else:
            log.error("the new guard was refused, the old one serves on: %s", error)
        if asker is not None and not asker.ended:
            asker.link.send("asked", error)

    async def _reload_all(self) -> str | None:
        """Load anew; returns why not, in a line."""
        hands = self._serving()
        if not hands:
            return "no worker is ready"
        try:
            copy = self._place()
        except OSError as error:
            return f"no place for a copy of the guard: {error.strerror}"
        try:
            await hands[0].order("take", str(copy))
            found = await asyncio.gather(
                *(hand.load(copy) for hand in hands), return_exceptions=True
            )
        except (AdvDetectError, EOFError) as error:
            shutil.rmtree(copy, ignore_errors=True)
            return str(error) or "a worker ended meanwhile"
        refused = [str(one) for one in found if isinstance(one, AdvDetectError)]
        loaded = [one for one in found if isinstance(one, tuple)]
        if refused or not loaded:
            shutil.rmtree(copy, ignore_errors=True)
            return refused[0] if refused else "the workers ended meanwhile"
        before, self._copy, self._about = self._copy, copy, loaded[0]
        for hand in hands:
            try:
                await hand.order("put")
            except (AdvDetectError, EOFError):
                if not hand.ended:
                    hand.process.kill()  # its successor loads the new one
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        return None

    def _serving(self) -> list[Hand]:
        return [hand for hand in self._hands.values() if hand.serves]

    def _place(self) -> Path:
        self._copies += 1
        folder = self._guards / str(self._copies)
        folder.mkdir()
        return folder

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
