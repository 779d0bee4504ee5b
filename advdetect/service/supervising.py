"""From a guard's name to several workers and their supervisor."""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from advdetect.service.books import SUPERVISOR
from advdetect.service.listening import allow_connections, bind
from advdetect.service.settings import Settings
from advdetect.service.supervisor import Supervisor
from advdetect.service.working import Post


def threads_each(workers: int) -> int:
    """Cores for each worker; an operator's OMP_NUM_THREADS counts for more."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // workers)


def supervise(
    name: str,
    settings: Settings,
    *,
    workers: int,
    threads: int | None,
    form: str,
    access: bool,
    rate: float,
    tell: Callable[[str], None],
) -> None:
    """Serve a guard with several processes until a signal ends it.

    Args:
        name: A guard's folder, or a shipped model's name.
        settings: Limits and manners, of each worker.
        workers: How many.
        threads: Of torch, in each; ``None`` shares the cores out.
        form: Of the log.
        access: Whether the log has a line for each request.
        rate: Chance of a false warning of drift, of all workers together.
        tell: Told where the service listens.

    Raises:
        InputError: the address cannot be listened on.
        AdvDetectError: there is no such guard, it is damaged, or no worker gets ready.
    """
    allow_connections(settings.max_connections)
    listening = bind(settings)
    try:
        with tempfile.TemporaryDirectory(prefix="advdetect-") as made:
            folder = Path(made)
            # Held and locked: systemd-tmpfiles and its like leave such folders alone.
            held = os.open(folder, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_SH)
            books = folder / "books"
            books.mkdir()
            post = Post(
                number=SUPERVISOR,
                name=name,
                settings=settings,
                books=books,
                drift_rate=rate,
                threads=threads or threads_each(workers),
                form=form,
                access=access,
            )

            async def main() -> None:
                await Supervisor(post, workers, listening, folder, tell=tell).run()

            asyncio.run(main())
    finally:
        listening.close()
