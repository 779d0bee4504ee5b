"""A worker as its supervisor sees it: a process that takes orders, and ends."""

import asyncio
import logging
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

from advdetect.errors import AdvDetectError
from advdetect.service.links import Link

log = logging.getLogger("advdetect.service")

# Seconds for one order; a guard that takes longer to load is not served.
PATIENCE = 120.0


class Hand:
    """A worker's process, and the way to speak to it.

    Args:
        process: Started.
        link: This end of the pipe.
        asked: Called when the worker asks for a reload.

    Attributes:
        serves: Whether it takes requests.
        ended: Whether the process is gone.
    """

    def __init__(self, process: SpawnProcess, link: Link, asked: Callable[["Hand"], None]) -> None:
        self.process = process
        self.link = link
        self.serves = self.ended = False
        self._asked = asked
        self._gone = asyncio.Event()
        self._answers: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(process.sentinel, self._notice_end)
        self._listening = asyncio.create_task(self._listen())

    async def up(self) -> None:
        """Wait until it takes orders.

        Raises:
            EOFError: it ended, or does not answer.
        """
        await self._answer()

    async def order(self, *order: str) -> object:
        """Give an order, and wait for what comes of it.

        Raises:
            AdvDetectError: it was refused.
            EOFError: the worker ended, or does not answer.
        """
        self.link.send(*order)
        return await self._answer()

    async def load(self, copy: Path) -> tuple[str, str]:
        """Have it take a guard in hand; returns the guard's name and fingerprint."""
        found = await self.order("load", str(copy))
        name, fingerprint = found if isinstance(found, tuple) else ("", "")
        return name, fingerprint

    async def end(self, stopping: asyncio.Event, seconds: float) -> int | None:
        """Wait for its end, once ``stopping`` for so long at most; returns the exit status."""
        gone = asyncio.create_task(self._gone.wait())
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait([gone, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        try:
            async with asyncio.timeout(seconds):
                await gone
        except TimeoutError:
            self.process.kill()
            await self._gone.wait()
        status = self.process.exitcode
        self.link.close()
        self.process.close()
        return status

    async def _answer(self) -> object:
        try:
            async with asyncio.timeout(PATIENCE):
                word, found = (*await self._answers.get(), None)[:2]
        except TimeoutError:
            log.error("a worker does not answer")
            self.process.kill()
            raise EOFError from None
        if word == "gone":
            self._answers.put_nowait(("gone", None))  # for whoever asks next
            raise EOFError
        if word == "refused":
            raise AdvDetectError(str(found))
        return found

    async def _listen(self) -> None:
        """Sort its answers from its questions; its end is an answer too."""
        while (message := await self.link.receive()) is not None:
            if message[0] == "reload":
                self._asked(self)
            else:
                self._answers.put_nowait(message)
        self._answers.put_nowait(("gone", None))

    def _notice_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self.process.sentinel)
        self.process.join()
        self.ended, self.serves = True, False
        self._gone.set()
