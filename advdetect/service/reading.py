"""A request's body, within its limits of bytes and time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from advdetect.service.refusals import Refused
from advdetect.service.service import Service

# What all requests together may hold in memory, in bodies of the largest size.
BODIES = 16
# Below this a picture of the guard's size is decoded sooner than a thread is woken for it.
SMALL_BODY = 64 * 1024


@asynccontextmanager
async def read_body(request: Request, service: Service) -> AsyncIterator[bytes]:
    """Read the whole body, and account for its memory until it is done with.

    Raises:
        Refused: 415 for a compressed body, 413 for too many bytes, 408 for too slow a client, 503
            where other requests hold the memory already.
    """
    most = service.settings.max_bytes
    too_large = Refused(413, "bytes", f"a request may have {most} bytes at most")
    declared = request.headers.get("content-length", "0")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "content-encoding", "expected a body that is not compressed")
    chunks: list[bytes] = []
    held = 0
    try:
        async with asyncio.timeout(max(0.0, request.scope["advdetect.until"] - time.monotonic())):
            refused = too_large if declared.isdigit() and int(declared) > most else None
            read = 0
            async for chunk in request.stream():
                read += len(chunk)
                if read > most:
                    refused = too_large
                if refused is None and service.bytes_held + len(chunk) > BODIES * most:
                    refused = Refused(503, "memory", "large requests hold the memory: ask later")
                if refused is not None:
                    # A client that still writes would lose the answer to a closed connection:
                    # some more is read, and forgotten.
                    if read > 2 * most:
                        break
                    continue
                chunks.append(chunk)
                held += len(chunk)
                service.bytes_held += len(chunk)
        if refused is not None:
            raise refused
        yield b"".join(chunks)
    except TimeoutError:
        raise Refused(
            408, "slow", f"the request did not arrive within {service.settings.timeout:g} seconds"
        ) from None
    finally:
        service.bytes_held -= held
