"""From a guard's name to a running server, and its signals."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping

import uvicorn

from advdetect.errors import AdvDetectError
from advdetect.service.app import create_app
from advdetect.service.connections import hurried
from advdetect.service.listening import address_of, allow_connections, bind
from advdetect.service.logs import AsideHandler
from advdetect.service.memory import Tidying
from advdetect.service.served import Served
from advdetect.service.service import Service
from advdetect.service.settings import GRACE, Settings

log = logging.getLogger("advdetect.service")

# Connections that the system holds for us until we take them.
BACKLOG = 2048
SWITCH = 0.0005  # seconds that a thread of Python keeps others waiting


class Server(uvicorn.Server):
    """Uvicorn around a service, with signals of our choice.

    Args:
        service: The service.
        settings: Limits and manners.
        signals: What to do on each, in the main thread; ``None`` for those of a service that has
            no supervisor.
    """

    def __init__(
        self,
        service: Service,
        settings: Settings,
        signals: Mapping[signal.Signals, Callable[[], None]] | None = None,
    ) -> None:
        config = uvicorn.Config(
            create_app(service),
            http=hurried(settings.timeout, settings.max_connections),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            # Of asyncio, this is also how many are taken at a time: one of several workers must
            # not take all that wait.
            backlog=BACKLOG if signals is None else 1,
            timeout_graceful_shutdown=int(settings.timeout) + GRACE,
        )
        super().__init__(config)
        self.service = service
        self._tidying = Tidying()
        self._alone = signals is None
        self._signals = self._usual_signals() if signals is None else signals
        self._reloads: set[asyncio.Task[None]] = set()

    def _usual_signals(self) -> Mapping[signal.Signals, Callable[[], None]]:
        """SIGTERM and SIGINT end it with status 0, SIGHUP reloads."""
        return {signal.SIGTERM: self.end, signal.SIGINT: self.end, signal.SIGHUP: self._reload}

    def end(self) -> None:
        """Accept nothing more, answer what was accepted, and end."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, once the guard has answered."""
        served, settings = self.service.served, self.service.settings
        own_process = threading.current_thread() is threading.main_thread()
        if own_process:
            served.warm(settings.max_batch)
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)
        if own_process:
            settle()
        self.service.metrics.workers.set(1)
        if self._alone:
            log.info("ready: guard %s, fingerprint %s", served.name, served.fingerprint)

    async def on_tick(self, counter: int) -> bool:
        """Keep the books of what nobody tells us, ten times a second, and tidy up."""
        self._tidying.look()
        self.service.metrics.connections.set(len(self.server_state.connections))
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals while serving, in the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number, handler in self._signals.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in self._signals:
                loop.remove_signal_handler(number)

    def _reload(self) -> None:
        async def reload() -> None:
            # The log has said it already, and the old guard serves on.
            with contextlib.suppress(AdvDetectError):
                await self.service.reload()

        task = asyncio.get_running_loop().create_task(reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)


def settle() -> None:
    """Spare answers what would make them wait, in a process that does nothing but serve."""
    # All that is loaded by now stays: looking through it takes a collection a fifth of a second.
    gc.collect()
    gc.freeze()
    # The detector's Python must not keep the event loop waiting for 5 ms at a time.
    sys.setswitchinterval(SWITCH)


def serve(
    name: str, settings: Settings, *, tell: Callable[[str], None], log_to: AsideHandler
) -> None:
    """Serve a guard in this process until a signal ends it.

    Args:
        name: A guard's folder, or a shipped model's name.
        settings: Limits and manners.
        tell: Told where the service listens.
        log_to: The log, whose losses are entered into the books.

    Raises:
        InputError: the address cannot be listened on.
        AdvDetectError: there is no such guard, or it is damaged.
    """
    allow_connections(settings.max_connections)
    listening = bind(settings)
    try:
        served = Served.load(name)
        quieten_decoders()
        tell(f"serving {served.name} on {address_of(listening)}")

        def started(server: Server) -> None:
            log_to.count = server.service.metrics.unwritten.inc

        asyncio.run(run(served, settings, name, listening, started))
    finally:
        listening.close()


def quieten_decoders() -> None:
    """Odd pictures make decoders warn, once each and on standard error: strangers' to choose."""
    warnings.filterwarnings("ignore", module="PIL")


async def run(
    served: Served,
    settings: Settings,
    source: str,
    listening: socket.socket,
    started: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve on a bound socket; ``started`` gets the server, to end it by ``should_exit``."""
    server = Server(Service(served, settings, source), settings)
    started(server)
    await server.serve(sockets=[listening])
