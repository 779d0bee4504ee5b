"""The log: a line an event and a line a request, which never hold up an answer."""

import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

ACCESS = "advdetect.access"
FORMS = ("text", "json")
# Lines that wait to be written: more are dropped, and counted.
MOST_WAITING = 10_000
PAUSE = 0.1


def start_log(form: str, *, access: bool, worker: int | None = None) -> "AsideHandler":
    """Write the log to standard error.

    Args:
        form: "text" for people, "json" for programs, a line each.
        access: Whether each request gets a line.
        worker: Number of this worker, if there are several.
    """
    handler = AsideHandler(sys.stderr)
    handler.setFormatter(JsonLines(worker) if form == "json" else TextLines(worker))
    logging.basicConfig(handlers=[handler])
    logging.raiseExceptions = False  # a full disk must not cost an answer
    # It warns of each damaged body, which strangers send as they like; the books count them.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.getLogger("advdetect").setLevel(logging.INFO)
    logging.getLogger(ACCESS).setLevel(logging.INFO if access else logging.WARNING)
    return handler


class AsideHandler(logging.Handler):
    """Writes lines in a thread of its own, many at a time.

    A disk that is full or a reader that is stuck costs lines, never an answer. Warnings and worse
    are written at once, others within a tenth of a second.

    Args:
        stream: Where lines go.

    Attributes:
        lost: Lines dropped.
        count: Told how many were dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.lost = 0
        self.count: Callable[[int], object] = lambda lines: None
        self._stream = stream
        self._lines: deque[str] = deque()
        self._soon = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="advdetect-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        if len(self._lines) >= MOST_WAITING:
            self._lose(1)
            return
        self._lines.append(self.format(record))
        if record.levelno >= logging.WARNING:
            self._soon.set()

    def close(self) -> None:
        """Write what waits, for two seconds at most."""
        self._closing = True
        self._soon.set()
        self._thread.join(2)
        super().close()

    def _work(self) -> None:
        while not (self._closing and not self._lines):
            self._soon.wait(PAUSE)
            self._soon.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if not lines:
                continue
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):
                self._lose(len(lines))

    def _lose(self, lines: int) -> None:
        self.lost += lines
        self.count(lines)


class TextLines(logging.Formatter):
    """``2026-01-31 12:00:00,000 INFO message``, and the worker where there are several."""

    def __init__(self, worker: int | None) -> None:
        number = "" if worker is None else f"[{worker}] "
        super().__init__(f"%(asctime)s %(levelname)s {number}%(message)s")


class JsonLines(logging.Formatter):
    """An object a line; a request's parts are members of their own."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            **self._worker,
        }
        request = getattr(record, "request", None)
        line |= {"message": record.getMessage()} if request is None else request
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
