"""The one picture of a request."""

from torch import Tensor

from advdetect.service.bodies import parse_body
from advdetect.service.decoding import Shape, decode
from advdetect.service.refusals import Refused
from advdetect.service.settings import Settings


def one_picture(
    body: bytes, content_type: str | None, settings: Settings, shape: Shape, *, resize: bool
) -> Tensor:
    """Decode a body into ``(c, h, w)`` pixels, within the limits of all requests.

    Raises:
        Refused: what is wrong with it, or that it is not alone.
    """
    inputs = parse_body(body, content_type, settings)
    if len(inputs) != 1:
        raise Refused(400, "inputs", f"expected one input, got {len(inputs)}")
    return decode(inputs[0], shape, resize=resize, max_pixels=settings.max_pixels)
