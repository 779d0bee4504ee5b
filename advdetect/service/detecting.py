"""``POST /v1/detect``: pictures in, verdicts out."""

import time
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from torch import Tensor

from advdetect.service.bodies import Submitted, parse_body
from advdetect.service.decoding import decode
from advdetect.service.reading import SMALL_BODY, read_body
from advdetect.service.refusals import Refused
from advdetect.service.schemas import DETECT_BODY, ERRORS, Verdicts
from advdetect.service.served import Judged, Served
from advdetect.service.service import Service

Decoded = tuple[Submitted, Tensor | Refused]


def detect_routes(service: Service) -> APIRouter:
    """The route, for one service."""
    router = APIRouter()

    @router.post(
        "/v1/detect",
        response_model=Verdicts,
        responses=ERRORS,
        openapi_extra=DETECT_BODY,
        summary="Judge pictures",
    )
    async def detect(request: Request, resize: bool = False) -> JSONResponse:
        """Judge each input by itself; a broken one gets its own error, the others verdicts.

        Status 200 if any input was judged, 422 if none could be.
        """
        served = service.served
        started = time.perf_counter()
        async with read_body(request, service) as body:
            read = time.perf_counter()
            kind = request.headers.get("content-type")
            work = partial(_decode_all, body, kind, service, served, resize)
            # Resizing, a small body may be a large picture.
            slow = resize or len(body) > SMALL_BODY
            until = request.scope["advdetect.until"]
            decoded = await service.decode(work, slow=slow, until=until)
        spent = time.perf_counter() - read
        service.metrics.decode.observe(spent)
        images = [image for _, image in decoded if isinstance(image, Tensor)]
        submitted = time.perf_counter()
        judged: list[Judged] = []
        if images:
            judged = await service.judge(served, images, until)
        verdicts = iter(judged)
        results: list[dict[str, Any]] = []
        for given, image in decoded:
            if isinstance(image, Refused):
                service.metrics.rejected.labels(image.reason).inc()
                results.append({"name": given.name, "error": image.to_json()})
                continue
            found = next(verdicts)
            milliseconds = {
                "decode": spent,
                "wait": max(0.0, found.started - submitted),
                "forward": found.forward,
                "detect": found.detect,
                "total": time.perf_counter() - started,
            }
            results.append(
                {
                    "name": given.name,
                    **found.verdict,
                    "false_alarm_rate": served.guard.false_alarm_rate,
                    "guard": served.fingerprint,
                    "milliseconds": {k: round(1000 * s, 3) for k, s in milliseconds.items()},
                }
            )
        return JSONResponse({"results": results}, 200 if images else 422)

    return router


def _decode_all(
    body: bytes, content_type: str | None, service: Service, served: Served, resize: bool
) -> list[Decoded]:
    settings, shape = service.settings, served.guard.input_shape
    decoded: list[Decoded] = []
    for given in parse_body(body, content_type, settings):
        try:
            image = decode(given, shape, resize=resize, max_pixels=settings.max_pixels)
        except Refused as refused:
            decoded.append((given, refused))
        else:
            decoded.append((given, image))
    return decoded
