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
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"reason": self.reason, "message": self.message}

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        if self.status == 503:
            return {"Retry-After": str(RETRY_AFTER)}
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        if self.status in (408, 413):  # the rest of the body is not waited for
            return {"Connection": "close"}
        return {}
