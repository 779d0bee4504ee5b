"""What a client is told that gets no verdict."""

from typing import Any

RETRY_AFTER = 1


class Refused(Exception):  # noqa: N818  (an answer, not a fault)
    """A request, or one input of it, that gets no verdict.

    Args:
        status: HTTP status, if the whole request is refused for it.
        reason: One word for programs and metrics.
        message: One line for people: what was expected, what came. It names no path, no
            library and nothing of a picture's content.
        close: Whether the connection ends with it.
    """

    def __init__(self, status: int, reason: str, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        # After 408 and 413 the rest of the body is not waited for.
        self.close = close or status in (408, 413)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"reason": self.reason, "message": self.message}

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        closing = {"Connection": "close"} if self.close else {}
        if self.status == 503:
            return closing | {"Retry-After": str(RETRY_AFTER)}
        if self.status == 401:
            return closing | {"WWW-Authenticate": "Bearer"}
        return closing
