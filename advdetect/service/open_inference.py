"""The Open Inference Protocol, version 2, with the extension for binary tensors."""

import json
import time
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from advdetect.service.reading import SMALL_BODY, read_body
from advdetect.service.refusals import Refused
from advdetect.service.schemas import OpenError, errors
from advdetect.service.served import Judged, Served
from advdetect.service.service import Service
from advdetect.service.tensors import InferRequest, parse_infer, write_tensor

LENGTH = "Inference-Header-Content-Length"
OUTPUTS = {
    "label": "INT64",
    "confidence": "FP64",
    "score": "FP64",
    "p_value": "FP64",
    "flagged": "BOOL",
    "evidence": "FP64",
}
INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["inputs"]}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def open_inference_routes(service: Service) -> APIRouter:
    """The protocol's routes, for one service with one model of one version, 1."""
    router = APIRouter(prefix="/v2")
    missing = errors(OpenError, 404)

    @router.get("", summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "advdetect", "version": "1", "extensions": ["binary_tensor_data"]}

    @router.get("/health/live", summary="Alive")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready", responses=errors(OpenError, 503), summary="Ready")
    async def ready() -> dict[str, bool]:
        if not service.ready:
            raise Refused(503, "not-ready", "the guard has not answered yet, or stops")
        return {"ready": True}

    for prefix in ("/models/{name}", "/models/{name}/versions/{version}"):

        @router.get(prefix, responses=missing, summary="What the model takes and gives")
        async def metadata(name: str, version: str = "1") -> dict[str, Any]:
            return describe(_find(service, name, version))

        @router.get(f"{prefix}/ready", responses=missing, summary="The model is ready")
        async def model_ready(name: str, version: str = "1") -> dict[str, Any]:
            _find(service, name, version)
            if not service.ready:
                raise Refused(503, "not-ready", "the guard has not answered yet, or stops")
            return {"name": name, "ready": True}

        @router.post(
            f"{prefix}/infer",
            openapi_extra=INFER_BODY,
            responses=errors(OpenError, 400, 401, 403, 404, 408, 413, 415, 500, 503),
            summary="Judge a tensor of images",
        )
        async def infer(request: Request, name: str, version: str = "1") -> Response:
            return await _infer(service, _find(service, name, version), request)

    return router


def describe(served: Served) -> dict[str, Any]:
    """A model's metadata, as the protocol words it; -1 is any number."""
    outputs: list[dict[str, Any]] = [
        {"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in OUTPUTS.items()
    ]
    outputs[-1] |= {"shape": [-1, len(served.layers)], "parameters": {"layers": served.layers}}
    shape = [-1, *served.guard.input_shape]
    return {
        "name": served.name,
        "versions": ["1"],
        "platform": "advdetect_guard",
        "inputs": [{"name": "images", "datatype": "FP32", "shape": shape}],
        "outputs": outputs,
        "parameters": {
            "fingerprint": served.fingerprint,
            "false_alarm_rate": served.guard.false_alarm_rate,
            "classes": served.guard.about.get("classes"),
        },
    }


def _find(service: Service, name: str, version: str) -> Served:
    served = service.served
    if name != served.name or version != "1":
        raise Refused(404, "model", f"no such model: this service has {served.name}, version 1")
    return served


async def _infer(service: Service, served: Served, request: Request) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Public clients send tensors without a content type, the binary ones above all.
    if kind not in ("", "application/json", "application/octet-stream"):
        raise Refused(415, "content-type", "expected application/json")
    async with read_body(request, service) as body:
        started = time.perf_counter()
        length = request.headers.get(LENGTH)
        work = partial(parse_infer, body, length, served.guard.input_shape, service.settings)
        until = request.scope["advdetect.until"]
        asked = await service.decode(work, slow=len(body) > SMALL_BODY, until=until)
    service.metrics.decode.observe(time.perf_counter() - started)
    unknown = [name for name in asked.outputs or () if name not in OUTPUTS]
    if unknown:
        raise Refused(400, "request", f"outputs are {', '.join(OUTPUTS)}")
    judged = await service.judge(served, list(asked.images), until)
    return _respond(served, asked, judged)


def _respond(served: Served, asked: InferRequest, judged: list[Judged]) -> Response:
    written, tail = [], b""
    for name, datatype in OUTPUTS.items():
        if not asked.wants(name):
            continue
        values = [found.verdict[name] for found in judged]
        if name == "evidence":
            values = [[row[layer] for layer in served.layers] for row in values]
        tensor, raw = write_tensor(name, datatype, values, binary=asked.wants_binary(name))
        written.append(tensor)
        tail += raw
    content = {"model_name": served.name, "model_version": "1", "outputs": written}
    if asked.identifier is not None:
        content["id"] = asked.identifier
    if not tail:
        return JSONResponse(content)
    head = json.dumps(content).encode()
    headers = {LENGTH: str(len(head))}
    return Response(head + tail, media_type="application/octet-stream", headers=headers)
