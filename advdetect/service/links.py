"""Words between the supervisor and a worker, over a pipe, without holding up either's loop."""

import asyncio
import contextlib
from multiprocessing.connection import Connection
from typing import Any

Message = tuple[Any, ...]


class Link:
    """One end of a pipe, in an event loop.

    Args:
        connection: The end; messages are small, so that a pipe always has room for one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._received: asyncio.Queue[Message | None] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(connection.fileno(), self._read)

    def send(self, *message: Any) -> None:
        """Send words; to nobody, if the other end is gone, of which ``receive`` tells."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(message)

    async def receive(self) -> Message | None:
        """Wait for words; ``None`` once the other end is gone."""
        message = await self._received.get()
        if message is None:
            self._received.put_nowait(None)  # for whoever asks again
        return message

    def _read(self) -> None:
        try:
            self._received.put_nowait(self._connection.recv())
        except (EOFError, ConnectionResetError):
            self.close()

    def close(self) -> None:
        """Listen no more."""
        if not self._connection.closed:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
            self._received.put_nowait(None)
