"""Requests that come together are judged together, in one thread over a bounded queue."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from advdetect.service.refusals import Refused
from advdetect.service.served import Judged, Served

log = logging.getLogger(__name__)

Observer = Callable[[Served, list[Judged]], None]


@dataclass(eq=False)
class Ticket:
    """A request on its way: its inputs, and the promise of their verdicts.

    A request is judged by the guard that it was decoded for, whatever is loaded meanwhile.
    """

    served: Served
    images: Sequence[Tensor]
    promise: "Future[list[Judged]]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.perf_counter)
    found: dict[int, Judged] = field(default_factory=dict)

    def answer(self, position: int, judged: Judged) -> None:
        """Note one verdict; the last one keeps the promise."""
        self.found[position] = judged
        if len(self.found) == len(self.images) and self.promise.set_running_or_notify_cancel():
            self.promise.set_result([self.found[i] for i in range(len(self.images))])

    def fail(self, error: Exception) -> None:
        """Break the promise, unless it was broken or given up already."""
        if not self.promise.done() and self.promise.set_running_or_notify_cancel():
            self.promise.set_exception(error)


class Batcher:
    """Judges what is submitted, at most ``max_batch`` inputs at a time.

    A verdict depends on its own input alone, but for the last digits: sums of floating-point
    numbers take another order in another batch.

    Args:
        max_batch: Most inputs of a batch; those of one request may fall into several.
        max_delay: Seconds that an input waits for others once the guard is free: whoever has just
            been answered may ask again, and a guard's work is mostly by the batch. A full batch
            never waits.
        max_queue: Most inputs that wait.
        observe: Called with each judged batch before its requests are answered, so that books
            are never behind what a client has seen. What it raises is logged.
        note_depth: Told how many inputs wait, whenever that changes.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        max_delay: float,
        max_queue: int,
        observe: Observer,
        note_depth: Callable[[int], None] = lambda depth: None,
    ) -> None:
        self.max_batch = max_batch
        self.max_delay = max_delay
        self.max_queue = max_queue
        self._observe = observe
        self._note_depth = note_depth
        self._waiting: deque[tuple[Ticket, int]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="advdetect-guard", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Inputs that wait."""
        return len(self._waiting)

    def submit(self, served: Served, images: Sequence[Tensor]) -> "Future[list[Judged]]":
        """Promise verdicts of ``(c, h, w)`` images, in their order; cancel it to give them up.

        Raises:
            Refused: 503, at once, where the queue has no room or the service stops.
        """
        ticket = Ticket(served, images)
        with self._changed:
            if self._stopping:
                raise Refused(503, "stopping", "the service stops: ask another, or later")
            if len(self._waiting) + len(images) > self.max_queue:
                raise Refused(503, "busy", "too many inputs wait already: ask again later")
            self._waiting.extend((ticket, i) for i in range(len(images)))
            self._note_depth(len(self._waiting))
            self._changed.notify()
        return ticket.promise

    def stop(self) -> None:
        """Accept nothing more, answer what was accepted, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._answer(batch)

    def _next_batch(self) -> list[tuple[Ticket, int]]:
        """Wait for inputs of one guard; none are left once stopped."""
        free = time.perf_counter()
        with self._changed:
            while True:
                while not self._waiting:
                    if self._stopping:
                        return []
                    self._changed.wait()
                until = max(self._waiting[0][0].submitted, free) + self.max_delay
                while len(self._waiting) < self.max_batch and not self._stopping:
                    left = until - time.perf_counter()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                if batch := self._take():
                    return batch

    def _take(self) -> list[tuple[Ticket, int]]:
        batch: list[tuple[Ticket, int]] = []
        while self._waiting and len(batch) < self.max_batch:
            ticket = self._waiting[0][0]
            if batch and ticket.served is not batch[0][0].served:
                break
            entry = self._waiting.popleft()
            if not ticket.promise.done():  # given up, or failed with another of its inputs
                batch.append(entry)
        self._note_depth(len(self._waiting))
        return batch

    def _answer(self, batch: list[tuple[Ticket, int]]) -> None:
        served = batch[0][0].served
        try:
            judged = served.judge([ticket.images[i] for ticket, i in batch])
        except Exception as error:  # a fault must not end the thread that all wait for
            if len(batch) == 1:
                log.exception("an input could not be judged")
                batch[0][0].fail(error)
                return
            # One input must not cost the others their verdicts.
            for entry in batch:
                self._answer([entry])
            return
        try:
            self._observe(served, judged)
        except Exception:  # verdicts are owed, whatever befell the books
            log.exception("a batch could not be entered into the books")
        for (ticket, position), found in zip(batch, judged, strict=True):
            ticket.answer(position, found)
