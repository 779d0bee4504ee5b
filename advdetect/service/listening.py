"""The address of a service."""

import resource
import socket

from advdetect.errors import InputError
from advdetect.service.settings import Settings

# Connections above the limit that are told so; and files that are open besides.
SURPLUS = 256
OTHER_FILES = 128


def bind(settings: Settings) -> socket.socket:
    """Take the address before a guard is loaded; nobody can connect until it listens.

    Raises:
        InputError: it is taken, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise InputError(f"cannot listen on {where}: {error.strerror}") from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Where a client finds it, as a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def allow_connections(most: int) -> None:
    """Have the system allow this process as many open files as its connections need.

    Raises:
        InputError: it may not have so many.
    """
    needed = most + SURPLUS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"max-connections {most} needs {needed} open files, and this process may have {hard}: "
            "raise the limit (ulimit -n, or LimitNOFILE= of its unit), or accept fewer"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
