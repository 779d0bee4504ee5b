"""The application: routes, errors as JSON, and the gate around them."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from advdetect.service.describing import description_routes
from advdetect.service.detecting import detect_routes
from advdetect.service.gate import Gate, error_json
from advdetect.service.inspecting.routes import NO_TRAFFIC, inspecting_routes
from advdetect.service.inspecting.workshop import Workshop
from advdetect.service.open_inference import open_inference_routes
from advdetect.service.operating import operating_routes
from advdetect.service.pages import page_routes
from advdetect.service.refusals import Refused
from advdetect.service.service import Service
from advdetect.service.traffic import traffic_routes

log = logging.getLogger(__name__)

PLAIN = {404: ("path", "no such path"), 405: ("method", "this path takes another method")}


def create_app(service: Service) -> ASGIApp:
    """Build the ASGI application of a service; its lifespan has the guard answer, and ends it."""
    workshop = Workshop() if service.settings.page else None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        yield
        if workshop is not None:
            await asyncio.to_thread(workshop.stop)
        await service.stop()

    app = FastAPI(
        title="advdetect",
        summary="Which inputs look adversarial, by how a network's layers represent them.",
        version="1",
        docs_url=None,  # these pages come from elsewhere, which the security policy forbids
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(detect_routes(service))
    app.include_router(operating_routes(service))
    app.include_router(open_inference_routes(service))
    app.include_router(description_routes())
    if workshop is not None:
        app.include_router(page_routes())
        app.include_router(inspecting_routes(service, workshop))
        app.include_router(traffic_routes(service))

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> JSONResponse:
        if request.method == "POST" and request.url.path not in NO_TRAFFIC:
            service.metrics.rejected.labels(refused.reason).inc()
        return JSONResponse(
            error_json(request.url.path, refused), refused.status, headers=refused.headers
        )

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        reason, message = PLAIN.get(error.status_code, ("request", "the request is not valid"))
        refused = Refused(error.status_code, reason, message)
        return JSONResponse(
            error_json(request.url.path, refused), error.status_code, headers=error.headers
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        names = (str(found["loc"][-1]) for found in error.errors())
        known = [name for name in names if re.fullmatch(r"[a-z_]{1,32}", name)]
        refused = Refused(400, "parameter", f"not valid: {', '.join(known)}")
        return JSONResponse(error_json(request.url.path, refused), 400)

    @app.exception_handler(ClientDisconnect)
    async def forget(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; the books do

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", exc_info=error)
        refused = Refused(500, "internal", "the service failed; its log says how")
        return JSONResponse(error_json(request.url.path, refused), 500)

    return Gate(app, service)
