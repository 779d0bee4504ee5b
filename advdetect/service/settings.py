"""What an operator chooses, checked once."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from advdetect.errors import FileError, InputError

LEAST_TOKEN = 16
# Beyond the time limit of requests: what was accepted is answered, or told that its time is up.
GRACE = 5
LONGEST = 86_400.0  # seconds
LIMITS = ("max_batch", "max_queue", "max_inputs", "max_bytes", "max_pixels", "max_connections")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits and manners of a service.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        max_batch: Most inputs in one forward pass.
        max_delay: Seconds that the first input of a batch waits for others.
        max_queue: Most inputs that wait; more are refused at once.
        max_inputs: Most inputs in one request.
        max_bytes: Most bytes of one request's body.
        max_pixels: Most pixels of one picture, before it is scaled.
        max_depth: Most levels of nesting in JSON.
        timeout: Seconds for a request, from its first byte to its answer.
        token: What clients show as ``Authorization: Bearer TOKEN``; ``None`` asks for none.
        insecure: Listen beyond this machine without a token.
        max_connections: Most connections at a time; of each worker, where there are several.
        page: Serve the page at ``/``, and what it asks: samples, reasons, attacks.

    Raises:
        InputError: a limit below 1, no such port, or another host without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    max_batch: int = 64
    max_delay: float = 0.005
    max_queue: int = 1024
    max_inputs: int = 256
    max_bytes: int = 16 * 2**20
    max_pixels: int = 2**24
    max_depth: int = 16
    timeout: float = 10.0
    token: str | None = None
    insecure: bool = False
    max_connections: int = 2048
    page: bool = True

    def __post_init__(self) -> None:
        for name in LIMITS:
            if getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', '-')} is at least 1")
        if not 0 <= self.port < 2**16:
            raise InputError(f"a port is a number from 0 to {2**16 - 1}, got {self.port}")
        if not (0 <= self.max_delay <= LONGEST and 0 < self.timeout <= LONGEST):
            raise InputError(
                f"a delay is 0 to {LONGEST:g} seconds, and a time limit more than 0 and as long"
            )
        if self.max_inputs > self.max_queue:
            raise InputError(
                f"a request of max-inputs ({self.max_inputs}) must fit into the queue "
                f"(max-queue, {self.max_queue})"
            )
        if not (self.loopback or self.token or self.insecure):
            raise InputError(
                f"whoever reaches {self.host} could use the guard: give --token-file FILE, "
                "or --insecure if something else keeps strangers out"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_token(file: Path | None) -> str | None:
    """Read the token, one line; ``None`` for no file.

    Raises:
        FileError: the file is missing, or no text.
        InputError: the token is too short to be secret, or more than one word.
    """
    if file is None:
        return None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise FileError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FileError(f"{file}: no text file") from None
    if len(token) < LEAST_TOKEN or len(token.split()) != 1:
        raise InputError(
            f"{file}: expected a token, one word of {LEAST_TOKEN} characters or more; "
            "openssl rand -hex 32 makes one"
        )
    return token
