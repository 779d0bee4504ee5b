"""What every request passes: host, token, time; and what every answer bears."""

import hmac
import json
import logging
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from advdetect.service.logs import ACCESS
from advdetect.service.pages import PATHS
from advdetect.service.refusals import Refused
from advdetect.service.service import Service

log = logging.getLogger(__name__)
access = logging.getLogger(ACCESS)

LONGEST_PATH = 200
# As nginx: the client went away, or was cut off, before its answer.
NO_ANSWER = 499

# Health, for whoever balances load; the page, which asks for the token and shows it itself.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", *PATHS})
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class Gate:
    """Wraps the application; the outermost layer, so that nothing escapes it.

    A request without the token, or for a name that this machine does not go by, never reaches a
    route. Every answer bears the security headers and is counted.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service
        token = service.settings.token
        self._authorization = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; ASGI's own events pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        metrics = self.service.metrics
        scope["advdetect.until"] = time.monotonic() + self.service.settings.timeout
        metrics.accepted.inc()
        status = sent = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                given = list(message.get("headers", ()))
                own = {name for name, _ in given}  # the page's policy allows its own scripts
                message["headers"] = given + [pair for pair in _RAW_HEADERS if pair[0] not in own]
                self._count(scope, status, time.perf_counter() - started)
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, receive, send_with_headers)
        except Refused as refused:
            if scope["method"] == "POST":
                metrics.rejected.labels(refused.reason).inc()
            await _answer(send_with_headers, scope, refused)
        except Exception:
            # What a route raised was logged and answered before it came here.
            if status != 500:
                log.exception("an answer failed")
        finally:
            if not status:
                metrics.lost.inc()
            if access.isEnabledFor(logging.INFO):
                _log(scope, status or NO_ANSWER, sent, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        if scope.get("state", {}).get("surplus"):
            raise Refused(503, "connections", "too many connections: ask again later", close=True)
        headers = dict(scope["headers"])
        if self._authorization is None:
            # Keeps a web page that points its own name at this machine from reading answers.
            host = headers.get(b"host", b"").decode("latin-1")
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            settings = self.service.settings
            if settings.loopback and name not in {*LOCAL_NAMES, settings.host}:
                raise Refused(403, "host", "without a token the service answers to localhost alone")
            # A browser says whose page asks. What others post they could not read, but it counts.
            site = headers.get(b"sec-fetch-site", b"none")
            if scope["method"] == "POST" and site not in (b"none", b"same-origin"):
                raise Refused(403, "origin", "without a token no other site's page may post")
            return
        if scope["path"] in OPEN_PATHS:
            return
        given = headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, self._authorization):
            raise Refused(401, "token", "expected Authorization: Bearer TOKEN")

    def _count(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        # The route's template, never the path: strangers must not name our time series.
        route = getattr(scope.get("route"), "path", "none")
        self.service.metrics.requests.labels(route, str(status)).inc()
        self.service.metrics.latency.labels(route).observe(seconds)
        self.service.books.requests += 1


async def _answer(send: Send, scope: Scope, refused: Refused) -> None:
    body = json.dumps(error_json(scope["path"], refused)).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    raw = [(k.lower().encode(), v.encode()) for k, v in (headers | refused.headers).items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _log(scope: Scope, status: int, sent: int, seconds: float) -> None:
    """Write a request's line: neither its query, which may hold a secret, nor its body."""
    request = {
        "client": (scope.get("client") or ("-",))[0],
        "method": scope["method"],
        # Escaped: a line must not be of a stranger's making.
        "path": ascii(scope["path"][:LONGEST_PATH])[1:-1],
        "status": status,
        "bytes": sent,
        "milliseconds": round(1000 * seconds, 1),
    }
    access.info(
        "%(client)s %(method)s %(path)s %(status)d %(bytes)d bytes %(milliseconds)s ms",
        request,
        extra={"request": request},
    )


def error_json(path: str, refused: Refused) -> dict[str, Any]:
    """An error as the protocol of its path words it: the open one has a string, ours reasons."""
    if path.startswith("/v2"):
        return {"error": refused.message}
    return {"error": refused.to_json()}
