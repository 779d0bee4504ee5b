"""What a worker does once all that is heavy is imported."""

import asyncio
import logging
import signal
import socket
from multiprocessing.connection import Connection
from pathlib import Path

from advdetect.errors import AdvDetectError
from advdetect.service.books import SharedBooks
from advdetect.service.links import Link
from advdetect.service.logs import AsideHandler
from advdetect.service.running import Server
from advdetect.service.served import Served
from advdetect.service.service import Service
from advdetect.service.snapshots import take_snapshot
from advdetect.service.working import Post

log = logging.getLogger("advdetect.service")


class Worker:
    """Serves on a socket that others serve on too, with a guard that the supervisor names."""

    def __init__(
        self,
        post: Post,
        books: SharedBooks,
        listening: socket.socket,
        connection: Connection,
        log_to: AsideHandler,
    ) -> None:
        self.post = post
        self._books = books
        self._listening = listening
        self._link = Link(connection)
        self._log_to = log_to
        self._in_hand: Served | None = None
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[str | None] | None = None

    async def run(self) -> None:
        """Do what is said until the end."""
        self._link.send("up")
        orders = asyncio.create_task(self._obey())
        await orders
        if self._serving is not None:
            await self._serving

    async def _obey(self) -> None:
        while (message := await self._link.receive()) is not None:
            order, *rest = message
            if order == "asked":
                if self._asked is not None and not self._asked.done():
                    self._asked.set_result(*rest)
                continue
            try:
                self._link.send("done", await self._do(order, *rest))
            except AdvDetectError as error:
                self._link.send("refused", self._in_own_words(error, *rest))
            except Exception:  # whatever it is, the old guard serves on
                log.exception("the new guard cannot answer")
                self._link.send("refused", "the new guard cannot answer")
        # The supervisor is gone, or this worker has served to its end.
        if self._asked is not None and not self._asked.done():
            self._asked.set_result("the supervisor is gone")
        if self._server is not None:
            self._server.end()

    async def _do(self, order: str, folder: str = "") -> tuple[str, str] | None:
        name = self.post.name
        if order == "take":
            await asyncio.to_thread(take_snapshot, name, Path(folder))
            return None
        if order == "load":
            copy = Path(folder) / "guard"
            self._in_hand = await asyncio.to_thread(Served.load, name, copy=copy)
            return self._in_hand.name, self._in_hand.fingerprint
        if self._in_hand is None:
            raise AdvDetectError("no guard is in hand")
        if self._server is None:
            await self._serve(self._in_hand)
        else:
            self._server.service.put(self._in_hand)
        self._in_hand = None
        return None

    async def _serve(self, served: Served) -> None:
        post = self.post
        service = Service(
            served,
            post.settings,
            post.name,
            shared=self._books,
            drift_rate=post.drift_rate,
            reloading=self._ask_for_reload,
        )
        self._log_to.count = service.metrics.unwritten.inc
        server = Server(service, post.settings, {})
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.end)
        self._serving = asyncio.create_task(self._serve_to_the_end(server))
        while not (server.started or self._serving.done()):
            await asyncio.sleep(0.005)
        if self._serving.done():
            await self._serving
        self._server = server

    async def _serve_to_the_end(self, server: Server) -> None:
        try:
            await server.serve(sockets=[self._listening])
        finally:
            self._link.close()

    async def _ask_for_reload(self) -> None:
        """Have the supervisor tell all workers to reload, this one among them."""
        self._asked = asyncio.get_running_loop().create_future()
        self._link.send("reload")
        if (error := await self._asked) is not None:
            raise AdvDetectError(error)

    def _in_own_words(self, error: AdvDetectError, folder: str = "") -> str:
        """An error about the copy, as if it were about the guard."""
        return str(error).replace(str(Path(folder) / "guard"), self.post.name)
