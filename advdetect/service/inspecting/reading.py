"""The one picture of a request."""

from functools import partial

from fastapi import Request
from torch import Tensor

from advdetect.service.bodies import parse_body
from advdetect.service.decoding import decode
from advdetect.service.reading import read_body
from advdetect.service.refusals import Refused
from advdetect.service.served import Served
from advdetect.service.service import Service


async def read_one(request: Request, service: Service, served: Served, resize: bool) -> Tensor:
    """Read and decode it into ``(c, h, w)`` pixels, within the limits of all requests.

    Raises:
        Refused: what is wrong with it, or that it is not alone.
    """
    async with read_body(request, service) as body:
        kind = request.headers.get("content-type")
        return await service.decode(partial(_one, body, kind, service, served, resize), len(body))


def _one(
    body: bytes, content_type: str | None, service: Service, served: Served, resize: bool
) -> Tensor:
    settings = service.settings
    inputs = parse_body(body, content_type, settings)
    if len(inputs) != 1:
        raise Refused(400, "inputs", f"expected one input, got {len(inputs)}")
    shape = served.guard.input_shape
    return decode(inputs[0], shape, resize=resize, max_pixels=settings.max_pixels)
