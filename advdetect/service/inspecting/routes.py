"""``/v1/samples``, ``/v1/landmarks``, ``/v1/explain`` and ``/v1/attack``: what the page asks."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from torch import Tensor

from advdetect.service.inspecting.attacking import MOST_LEVELS, AttackName
from advdetect.service.inspecting.inspector import Inspector
from advdetect.service.inspecting.reading import one_picture
from advdetect.service.inspecting.schemas import Attacked, Explanation, Map, Samples
from advdetect.service.inspecting.workshop import Workshop
from advdetect.service.reading import read_body
from advdetect.service.schemas import DETECT_BODY, Error, errors
from advdetect.service.service import Service

Answer = dict[str, Any]

# They ask what is no traffic, so that a refusal is none either.
NO_TRAFFIC = frozenset({"/v1/explain", "/v1/attack"})


def inspecting_routes(service: Service, workshop: Workshop) -> APIRouter:
    """The routes, for one service."""
    router = APIRouter(prefix="/v1")
    get = errors(Error, 401, 403, 503)
    post = errors(Error, 400, 401, 403, 408, 413, 415, 422, 503)

    async def ask(request: Request, question: Callable[[Inspector], Answer]) -> JSONResponse:
        until = request.scope["advdetect.until"]
        return JSONResponse(await workshop.ask("look", service.served, question, until))

    async def ask_of_picture(
        request: Request, kind: str, resize: bool, question: Callable[[Inspector, Tensor], Answer]
    ) -> JSONResponse:
        served, content_type = service.served, request.headers.get("content-type")
        shape = served.guard.input_shape
        async with read_body(request, service) as body:

            def work(inspector: Inspector) -> Answer:
                image = one_picture(body, content_type, service.settings, shape, resize=resize)
                return question(inspector, image)

            until = request.scope["advdetect.until"]
            return JSONResponse(await workshop.ask(kind, served, work, until))

    @router.get("/samples", response_model=Samples, responses=get, summary="Pictures to try")
    async def samples(request: Request) -> JSONResponse:
        """Clean pictures of the data that comes with advdetect, and attacked ones."""
        return await ask(request, lambda inspector: inspector.samples)

    @router.get("/landmarks", response_model=Map, responses=get, summary="A map of the landmarks")
    async def landmarks(request: Request) -> JSONResponse:
        """Where the guard's landmarks lie in the Fiedler embedding of the last layer."""
        return await ask(request, lambda inspector: inspector.map)

    @router.post(
        "/explain",
        response_model=Explanation,
        responses=post,
        openapi_extra=DETECT_BODY,
        summary="Judge one picture, and say why",
    )
    async def explain(request: Request, resize: bool = False) -> JSONResponse:
        """The verdict of ``/v1/detect``, with neighbours and place; it enters no books."""
        return await ask_of_picture(request, "look", resize, Inspector.explain)

    @router.post(
        "/attack",
        response_model=Attacked,
        responses=post,
        openapi_extra=DETECT_BODY,
        summary="Attack one picture, and judge what comes of it",
    )
    async def attack(
        request: Request,
        eps: Annotated[int, Query(ge=0, le=MOST_LEVELS, description="levels of 255")],
        attack: AttackName = "pgd",
        resize: bool = False,
    ) -> JSONResponse:
        """Lead the model away from its class within ``eps``: FGSM, or 20 steps of PGD.

        One attack at a time; the others get 503. It enters no books.
        """
        return await ask_of_picture(
            request, "attack", resize, lambda inspector, image: inspector.attack(image, attack, eps)
        )

    return router
