"""Memory that nobody uses goes back to the system."""

import ctypes
import threading
import time


class Tidying:
    """Gives free memory back, now and then, in a thread of its own.

    The C library of Linux keeps what it once got: after a thousand clients at a time a process
    would stay as large as it was then, for ever.

    Args:
        pause: Seconds between two times.
    """

    def __init__(self, pause: float = 60.0) -> None:
        self._pause = pause
        self._last = time.monotonic()

    def look(self) -> None:
        """Begin, if it is time; returns at once."""
        now = time.monotonic()
        if now >= self._last + self._pause:
            self._last = now
            threading.Thread(target=give_back, name="advdetect-tidy", daemon=True).start()


def give_back() -> None:
    """Have the C library return what it holds and nobody uses; nothing where it cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
