"""One of several workers: a process with its own guard, told by the supervisor what to do.

The supervisor says, and gets one answer to each:

- ``take FOLDER``: put the guard's files aside there;
- ``load FOLDER``: read the guard from such a folder, and keep it in hand;
- ``put``: serve the guard in hand; the first time, begin to serve;
- ``asked``: the answer to this worker's own ``reload``, and needs none.

Each answer is ``done`` with what was found, or ``refused`` with a line that says why.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from advdetect.errors import AdvDetectError
from advdetect.service.settings import Settings

log = logging.getLogger("advdetect.service")


@dataclass(frozen=True, kw_only=True)
class Post:
    """What a worker is started with.

    Attributes:
        number: The worker's, from 1; that of the one that it replaces.
        name: The guard's folder, or a shipped model's name.
        settings: Limits and manners.
        books: Folder of the books.
        drift_rate: Its share of the chance of a false warning.
        threads: Of torch.
        form: Of the log.
        access: Whether the log has a line for each request.
    """

    number: int
    name: str
    settings: Settings
    books: Path
    drift_rate: float
    threads: int
    form: str
    access: bool


def work(post: Post, listening: socket.socket, connection: Connection) -> None:
    """Serve until SIGTERM, or until the supervisor is gone."""
    # Ctrl-C reaches all processes of a terminal: the supervisor passes it on as SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from advdetect.service.books import SharedBooks
    from advdetect.service.logs import start_log

    log_to = start_log(post.form, access=post.access, worker=post.number)
    books = SharedBooks(post.books)
    books.join(post.number)
    import torch

    from advdetect.service.running import quieten_decoders

    torch.set_num_threads(post.threads)
    quieten_decoders()

    async def main() -> None:
        from advdetect.service.staff import Worker

        await Worker(post, books, listening, connection, log_to).run()

    with contextlib.suppress(AdvDetectError):  # the supervisor has been told
        asyncio.run(main())
