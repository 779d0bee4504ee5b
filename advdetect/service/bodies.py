"""A request's body into what was submitted: pictures or arrays, not yet decoded."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from advdetect.service.multipart import parse_multipart
from advdetect.service.refusals import Refused
from advdetect.service.settings import Settings

# Only these decoders ever see a stranger's bytes.
PICTURES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
}
ANY = tuple(PICTURES.values())
LONGEST_NAME = 200


@dataclass(frozen=True)
class Submitted:
    """One input as it came: a picture's bytes, nested numbers, or what is wrong with it."""

    name: str
    picture: bytes | None = None
    formats: tuple[str, ...] = ANY
    pixels: Any = None
    refused: Refused | None = None


def parse_body(body: bytes, content_type: str | None, settings: Settings) -> list[Submitted]:
    """Read the inputs of a request.

    Args:
        body: All of it.
        content_type: The request's header.
        settings: The limits.

    Raises:
        Refused: 415 for another content type, 400 for a body that is not what it says it is, 413
            for too many inputs.
    """
    kind, options = _content_type(content_type)
    if kind in PICTURES:
        return [Submitted("input[0]", picture=body, formats=(PICTURES[kind],))]
    if kind == "multipart/form-data":
        inputs = _parts(body, options.get("boundary", ""), settings)
    elif kind == "application/json":
        inputs = _json_inputs(parse_json(body, settings.max_depth))
    else:
        raise Refused(
            415,
            "content-type",
            f"expected multipart/form-data, application/json, or one of {', '.join(PICTURES)}",
        )
    if not inputs:
        raise Refused(400, "empty", "expected at least one input, got none")
    if len(inputs) > settings.max_inputs:
        raise Refused(413, "inputs", f"at most {settings.max_inputs} inputs a request")
    return inputs


def parse_json(body: bytes, max_depth: int) -> Any:
    """Read JSON of limited depth; NaN and infinity, which JSON does not have, are refused.

    Raises:
        Refused: 400.
    """
    too_deep = Refused(400, "depth", f"JSON may nest {max_depth} levels")
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise too_deep from None
    except ValueError:  # UnicodeDecodeError and integers of too many digits among them
        raise Refused(400, "body", "the body is no JSON") from None
    level = [content] if isinstance(content, (dict, list)) else []
    for _ in range(max_depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return content
    raise too_deep


def _no_constant(_name: str) -> NoReturn:
    raise ValueError


def _content_type(header: str | None) -> tuple[str, dict[str, str]]:
    kind, *rest = (header or "").split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip().lower(), {k.strip().lower(): v.strip().strip('"') for k, _, v in pairs}


def _parts(body: bytes, boundary: str, settings: Settings) -> list[Submitted]:
    if not boundary:
        raise Refused(400, "body", "the content type names no boundary")
    inputs = []
    parts = parse_multipart(body, boundary.encode("latin-1"), max_parts=settings.max_inputs)
    for i, part in enumerate(parts):
        name = _name(part.name or f"input[{i}]")
        kind = part.content_type
        if kind in (None, "application/octet-stream"):
            inputs.append(Submitted(name, picture=bytes(part.content)))
        elif kind in PICTURES:
            formats = (PICTURES[str(kind)],)
            inputs.append(Submitted(name, picture=bytes(part.content), formats=formats))
        else:
            refused = Refused(415, "content-type", f"expected one of {', '.join(PICTURES)}")
            inputs.append(Submitted(name, refused=refused))
    return inputs


def _json_inputs(content: Any) -> list[Submitted]:
    inputs = content.get("inputs") if isinstance(content, dict) else None
    if not isinstance(inputs, list):
        raise Refused(
            400,
            "body",
            'expected {"inputs": [...]}: base64 of a picture, nested numbers, or an object with '
            '"picture" or "pixels" and perhaps a "name"',
        )
    return [_json_input(value, f"input[{i}]") for i, value in enumerate(inputs)]


def _json_input(value: Any, name: str) -> Submitted:
    if isinstance(value, Mapping):
        given = value.get("name", name)
        name = _name(given) if isinstance(given, str) else name
        unknown = value.keys() - {"name", "picture", "pixels"}
        if unknown or ("picture" in value) == ("pixels" in value):
            return _broken(name, 'expected either "picture" or "pixels", and perhaps a "name"')
        value = value["picture"] if "picture" in value else value["pixels"]
    if isinstance(value, str):
        try:
            return Submitted(name, picture=base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            return _broken(name, "the picture is no base64")
    if isinstance(value, list):
        return Submitted(name, pixels=value)
    return _broken(name, "expected base64 of a picture, or nested numbers")


def _name(given: str) -> str:
    """A client's name for an input, as an answer can hold it: JSON has half characters."""
    return given[:LONGEST_NAME].encode("utf-8", "replace").decode()


def _broken(name: str, message: str) -> Submitted:
    return Submitted(name, refused=Refused(422, "input", message))
