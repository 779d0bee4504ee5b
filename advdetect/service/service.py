"""One guard in service: decode, wait, judge, keep the books; and load another in its place."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image
from torch import Tensor

from advdetect.errors import AdvDetectError
from advdetect.service.batching import Batcher
from advdetect.service.books import SharedBooks
from advdetect.service.drift import DriftTest
from advdetect.service.false_warnings import RATE
from advdetect.service.metrics import Metrics
from advdetect.service.refusals import Refused
from advdetect.service.served import Judged, Served
from advdetect.service.settings import Settings

log = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass
class Books:
    """What the last log line says, for whoever compares it with the clients' count."""

    requests: int = 0
    inputs: int = 0


class Service:
    """A guard, its queue, its books and its drift test.

    Args:
        served: The guard, loaded.
        settings: Limits and manners.
        source: Where a reload finds the guard: a folder, or a shipped model's name.
        shared: Books that other workers keep too.
        drift_rate: Chance that this service ever warns falsely of drift, with one guard.
        reloading: What to do for a reload instead, where others must reload as well.
    """

    def __init__(
        self,
        served: Served,
        settings: Settings,
        source: str,
        *,
        shared: SharedBooks | None = None,
        drift_rate: float = RATE,
        reloading: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.served = served
        self.settings = settings
        self.source = source
        self.metrics = Metrics(shared)
        self.metrics.serve(served)
        self.books = Books()
        self.drift_rate = drift_rate
        self.drift = DriftTest(served.guard.calibration, rate=drift_rate)
        self.ready = False
        self.bytes_held = 0
        self.batcher = Batcher(
            max_batch=settings.max_batch,
            max_delay=settings.max_delay,
            max_queue=settings.max_queue,
            observe=self._observe,
            note_depth=self.metrics.queue_depth.set,
        )
        self._decoders = ThreadPoolExecutor(2, thread_name_prefix="advdetect-decode")
        self._reload = reloading or self._reload_alone
        self._reloading = asyncio.Lock()

    async def warm_up(self) -> None:
        """Import decoders here, not in a request; the guard answered when it was loaded."""
        await asyncio.to_thread(Image.init)
        self.ready = True

    async def decode(self, work: Callable[[], Value], *, slow: bool, until: float) -> Value:
        """Run ``work`` on a body, aside where it may be ``slow``.

        Raises:
            Refused: 503, where no time is left.
        """
        if not slow:
            return work()
        promise = asyncio.get_running_loop().run_in_executor(self._decoders, work)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                return await promise
        except TimeoutError:
            raise self._too_late() from None

    async def judge(self, served: Served, images: Sequence[Tensor], until: float) -> list[Judged]:
        """Judge the images of a request, together with those of others.

        Args:
            served: The guard that they were decoded for.
            images: ``(c, h, w)`` each.
            until: ``time.monotonic()`` at which the request's time is up.

        Raises:
            Refused: 503, where there is no room, or no time left.
        """
        submitted = time.perf_counter()
        promise = asyncio.wrap_future(self.batcher.submit(served, images))
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                judged = await promise
        except TimeoutError:
            raise self._too_late() from None
        for found in judged:
            self.metrics.wait.observe(max(0.0, found.started - submitted))
        return judged

    async def reload(self) -> Served:
        """Load the guard anew and put it in the place of the old one.

        Requests that were decoded for the old guard are still judged by it.

        Raises:
            AdvDetectError: the new guard is missing, damaged or cannot answer; the old one
                serves on.
        """
        async with self._reloading:
            await self._reload()
            return self.served

    async def _reload_alone(self) -> None:
        try:
            served = await asyncio.to_thread(Served.load, self.source)
        except Exception as error:  # whatever it is, the old guard serves on
            self.metrics.reloads.labels("refused").inc()
            if not isinstance(error, AdvDetectError):
                log.exception("the new guard cannot answer; the old one serves on")
                raise AdvDetectError("the new guard cannot answer") from error
            log.error("the new guard was refused, the old one serves on: %s", error)
            raise
        self.put(served)
        self.metrics.reloads.labels("loaded").inc()
        log.info("loaded guard %s, fingerprint %s", served.name, served.fingerprint)

    def put(self, served: Served) -> None:
        """Put a guard in the place of the old one."""
        self.served = served
        self.drift = DriftTest(served.guard.calibration, rate=self.drift_rate)
        self.metrics.serve(served)

    async def stop(self) -> None:
        """Answer what was accepted, and end."""
        self.ready = False
        await asyncio.to_thread(self.batcher.stop)
        self._decoders.shutdown()
        log.info(
            "stopped: %d requests answered, %d inputs judged",
            self.books.requests,
            self.books.inputs,
        )

    def _too_late(self) -> Refused:
        return Refused(503, "timeout", f"no verdict within {self.settings.timeout:g} seconds")

    def _observe(self, served: Served, judged: list[Judged]) -> None:
        """Enter a batch; runs in the batcher's thread."""
        self.metrics.enter(judged)
        self.books.inputs += len(judged)
        drift = self.drift
        if served is not self.served:  # the old guard's scores say nothing of the new one
            return
        verdicts = [found.verdict for found in judged]
        begins = drift.add([v["score"] for v in verdicts], [v["label"] for v in verdicts])
        self.metrics.drift_evidence.set(drift.evidence)
        self.metrics.drift_warning.set(drift.warning)
        if begins:
            log.warning(
                "drift: the p-values of recent traffic are not uniform; a guard warns falsely "
                "with a chance of %g in its whole service",
                drift.rate,
            )
