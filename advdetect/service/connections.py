"""Connections that ask nothing are closed: a thousand silent ones must not keep others out."""

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class HurriedProtocol(H11Protocol):
    """HTTP/1.1, on which a request's head arrives within ``patience`` to twice that, or never.

    Uvicorn itself waits for the rest of a head as long as its client likes. A body's time is
    limited where it is read.

    Args:
        patience: Seconds between two looks.
    """

    def __init__(self, *arguments: Any, patience: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience
        self._last: Any = None
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to look at it."""
        super().connection_made(transport)
        self._look = self.loop.call_later(self._patience, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        """Close it, if no request has begun since the last look and none is being answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.cycle is self._last and not answering:
            self.transport.close()
            return
        self._last = self.cycle
        self._look = self.loop.call_later(self._patience, self._close_if_silent)


def hurried(patience: float) -> Any:
    """The protocol, of a given patience, as uvicorn makes one for each connection."""
    return partial(HurriedProtocol, patience=patience)
