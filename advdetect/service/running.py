"""From a guard's name to a running server, and its signals."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator

import uvicorn

from advdetect.errors import AdvDetectError, InputError
from advdetect.service.app import create_app
from advdetect.service.connections import hurried
from advdetect.service.served import Served
from advdetect.service.service import Service
from advdetect.service.settings import Settings

log = logging.getLogger("advdetect.service")

# Beyond the time limit of requests: what was accepted is answered, or told that its time is up.
GRACE = 5


class Server(uvicorn.Server):
    """Uvicorn with our signals: SIGTERM and SIGINT end it with status 0, SIGHUP reloads."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self._reloads: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals while serving, in the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _reload(self) -> None:
        async def reload() -> None:
            # The log has said it already, and the old guard serves on.
            with contextlib.suppress(AdvDetectError):
                await self.service.reload()

        task = asyncio.get_running_loop().create_task(reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)


def serve(name: str, settings: Settings, *, tell: Callable[[str], None]) -> None:
    """Serve a guard until a signal ends it.

    Args:
        name: A guard's folder, or a shipped model's name.
        settings: Limits and manners.
        tell: Told where the service listens.

    Raises:
        InputError: the address cannot be listened on.
        AdvDetectError: there is no such guard, or it is damaged.
    """
    listening = bind(settings)
    try:
        served = Served.load(name)
        logging.raiseExceptions = False  # a full disk must not cost an answer
        # Odd pictures make decoders warn, once each and on standard error: strangers' to choose.
        warnings.filterwarnings("ignore", module="PIL")
        host, port = listening.getsockname()[:2]
        tell(f"serving {served.name} on http://{f'[{host}]' if ':' in host else host}:{port}")
        asyncio.run(run(served, settings, name, listening))
    finally:
        listening.close()


async def run(
    served: Served,
    settings: Settings,
    source: str,
    listening: socket.socket,
    started: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve on a bound socket; ``started`` gets the server, to end it by ``should_exit``."""
    service = Service(served, settings, source)
    config = uvicorn.Config(
        create_app(service),
        http=hurried(settings.timeout),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=int(settings.timeout) + GRACE,
    )
    server = Server(config, service)
    started(server)
    await server.serve(sockets=[listening])


def bind(settings: Settings) -> socket.socket:
    """Take the address before a guard is loaded; nobody can connect until it listens.

    Raises:
        InputError: it is taken, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise InputError(f"cannot listen on {where}: {error.strerror}") from None
    return listening
