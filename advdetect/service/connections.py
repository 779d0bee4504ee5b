"""Connections that ask nothing are closed, and there are only so many of them."""

import asyncio
from functools import partial
from typing import Any

from advdetect.service.listening import SURPLUS

try:  # parses in C what h11 parses in Python
    from advdetect.service.parsing import LimitedHeads as Protocol
except ImportError:
    from uvicorn.protocols.http.h11_impl import (  # type: ignore[assignment]
        H11Protocol as Protocol,
    )

# Seconds that a connection above the limit has for its request, which is refused.
BRIEF = 1.0
# Looks in a row at one answer that is not done: its client does not read it.
UNREAD = 3


class HurriedProtocol(Protocol):
    """HTTP/1.1, on which a request's head arrives within ``patience`` to twice that, or never.

    Uvicorn itself waits for the rest of a head, and for an answer to be read, as long as its
    client likes. A body's time is limited where it is read.

    A connection above ``most`` is marked in its requests' scope, for the gate to refuse them in
    words; far above it, connections are closed at once.

    Args:
        patience: Seconds between two looks.
        most: Connections at a time.
    """

    def __init__(self, *arguments: Any, patience: float, most: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience
        self._most = most
        self._last: Any = None
        self._looks = 0
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to look at it."""
        super().connection_made(transport)
        surplus = len(self.connections) - self._most
        if surplus > SURPLUS:
            transport.abort()
            return
        if surplus > 0:
            self.app_state = {**self.app_state, "surplus": True}
            self._patience = min(self._patience, BRIEF)
        self._look = self.loop.call_later(self._patience, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        """Close it, if no request has begun since the last look and none is being answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        self._looks = self._looks + 1 if self.cycle is self._last else 0
        if self._looks and not answering:
            # It stays until what is left of the last answer is read; for no longer than an answer.
            self.transport.close()
            self._look = self.loop.call_later(UNREAD * self._patience, self.transport.abort)
            return
        if self._looks > UNREAD:
            self.transport.abort()
            return
        self._last = self.cycle
        self._look = self.loop.call_later(self._patience, self._close_if_silent)


def hurried(patience: float, most: int) -> Any:
    """The protocol, as uvicorn makes one for each connection."""
    return partial(HurriedProtocol, patience=patience, most=most)
