"""What operators ask: alive, ready, the books, another guard."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from advdetect.errors import AdvDetectError
from advdetect.service.metrics import CONTENT_TYPE
from advdetect.service.refusals import Refused
from advdetect.service.schemas import Error, GuardInformation, Health, errors
from advdetect.service.service import Service


def operating_routes(service: Service) -> APIRouter:
    """Health, metrics and reloading, for one service."""
    router = APIRouter()

    @router.get("/healthz", response_model=Health, summary="Alive")
    async def alive() -> dict[str, Any]:
        return {"status": "alive"}

    @router.get(
        "/readyz", response_model=Health, responses=errors(Error, 503), summary="Ready for traffic"
    )
    async def ready() -> dict[str, Any]:
        if not service.ready:
            raise Refused(503, "not-ready", "the guard has not answered yet, or stops")
        return {"status": "ready"}

    @router.get("/metrics", response_class=Response, summary="The books, for Prometheus")
    async def metrics() -> Response:
        # Aside: the books of many workers take a while to add up.
        books = await asyncio.to_thread(service.metrics.text)
        return Response(books, headers={"Content-Type": CONTENT_TYPE})

    @router.post(
        "/v1/reload",
        response_model=GuardInformation,
        responses=errors(Error, 401, 403, 409),
        summary="Load the guard anew",
    )
    async def reload() -> JSONResponse:
        if service.settings.token is None:
            raise Refused(
                403, "token", "reloading over HTTP needs a service with a token; or send SIGHUP"
            )
        try:
            served = await service.reload()
        except AdvDetectError:
            raise Refused(
                409, "guard", "the new guard was refused, the old one serves on; the log says why"
            ) from None
        return JSONResponse({"guard": served.name, "fingerprint": served.fingerprint})

    return router
