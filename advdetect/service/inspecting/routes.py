"""``/v1/samples``, ``/v1/landmarks``, ``/v1/explain`` and ``/v1/attack``: what the page asks."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from advdetect.service.inspecting.attacking import MOST_LEVELS, AttackName
from advdetect.service.inspecting.reading import read_one
from advdetect.service.inspecting.schemas import Attacked, Explanation, Map, Samples
from advdetect.service.inspecting.workshop import Workshop
from advdetect.service.schemas import DETECT_BODY, Error, errors
from advdetect.service.service import Service

# They ask what is no traffic, so that a refusal is none either.
NO_TRAFFIC = frozenset({"/v1/explain", "/v1/attack"})


def inspecting_routes(service: Service, workshop: Workshop) -> APIRouter:
    """The routes, for one service."""
    router = APIRouter(prefix="/v1")
    get = errors(Error, 401, 403, 503)
    post = errors(Error, 400, 401, 403, 408, 413, 415, 422, 503)

    @router.get("/samples", response_model=Samples, responses=get, summary="Pictures to try")
    async def samples(request: Request) -> JSONResponse:
        """Clean pictures of the data that comes with advdetect, and attacked ones."""
        until = request.scope["advdetect.until"]
        return JSONResponse(
            await workshop.ask("look", service.served, lambda one: one.samples, until)
        )

    @router.get("/landmarks", response_model=Map, responses=get, summary="A map of the landmarks")
    async def landmarks(request: Request) -> JSONResponse:
        """Where the guard's landmarks lie in the Fiedler embedding of the last layer."""
        until = request.scope["advdetect.until"]
        return JSONResponse(await workshop.ask("look", service.served, lambda one: one.map, until))

    @router.post(
        "/explain",
        response_model=Explanation,
        responses=post,
        openapi_extra=DETECT_BODY,
        summary="Judge one picture, and say why",
    )
    async def explain(request: Request, resize: bool = False) -> JSONResponse:
        """The verdict of ``/v1/detect``, with neighbours and place; it enters no books."""
        served = service.served
        image = await read_one(request, service, served, resize)
        until = request.scope["advdetect.until"]
        return JSONResponse(
            await workshop.ask("look", served, lambda one: one.explain(image), until)
        )

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
        served = service.served
        image = await read_one(request, service, served, resize)

        def question(one: Any) -> dict[str, Any]:
            return one.attack(image, attack, eps)

        until = request.scope["advdetect.until"]
        return JSONResponse(await workshop.ask("attack", served, question, until))

    return router
