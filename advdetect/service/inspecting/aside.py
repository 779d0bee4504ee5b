"""One thread for the work of the page, and little room before it."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from advdetect.service.refusals import Refused

Value = TypeVar("Value")


class Aside:
    """Runs work one piece after the other, whatever is asked at once.

    A page that many people look at thus costs one thread at most, and traffic goes on beside it.

    Args:
        room: How many pieces of each kind may run or wait; more are refused at once.
    """

    def __init__(self, **room: int) -> None:
        self._room = room
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopping = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="advdetect-aside")

    async def run(self, kind: str, work: Callable[[], Value], until: float) -> Value:
        """Run ``work`` in its turn, and wait for it.

        Args:
            kind: Whose room it takes.
            work: Called in the thread. Once begun it is finished, waited for or not.
            until: ``time.monotonic()`` at which the request's time is up.

        Raises:
            Refused: 503, at once where there is no room, or where the time is up.
        """
        promise = self._submit(kind, work)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                return await asyncio.wrap_future(promise)
        except TimeoutError:
            raise Refused(503, "timeout", "this takes longer than a request may: ask again") from (
                None
            )

    def continue_with(self, work: Callable[[], bool]) -> None:
        """Call ``work`` again and again while it returns true, behind what else was asked."""

        def once() -> None:
            if not self._stopping and work() and not self._stopping:
                self._pool.submit(once)

        self._pool.submit(once)

    def stop(self) -> None:
        """Finish what was asked, and end the thread."""
        with self._lock:
            self._stopping = True
        self._pool.shutdown()

    def _submit(self, kind: str, work: Callable[[], Value]) -> "Future[Value]":
        with self._lock:
            if self._stopping:
                raise Refused(503, "stopping", "the service stops: ask another, or later")
            if self._held[kind] >= self._room[kind]:
                raise Refused(503, "busy", "others ask for the same just now: ask again later")
            self._held[kind] += 1
            promise = self._pool.submit(work)
        # Outside the lock: a promise that is kept already calls back at once.
        promise.add_done_callback(lambda _: self._release(kind))
        return promise

    def _release(self, kind: str) -> None:
        with self._lock:
            self._held[kind] -= 1
