"""The shapes of answers, for the OpenAPI description; answers are not validated against them."""

from typing import Any

from pydantic import BaseModel

from advdetect.service.bodies import PICTURES


class Reason(BaseModel):
    """Why there is no verdict: a word for programs, a line for people."""

    reason: str
    message: str


class Error(BaseModel):
    """A refused request."""

    error: Reason


class OpenError(BaseModel):
    """A refused request, in the words of the Open Inference Protocol."""

    error: str


class Broken(BaseModel):
    """An input that could not be judged."""

    name: str
    error: Reason


class Judgement(BaseModel):
    """What the guard says of an input, and which guard; ``evidence`` by layer."""

    label: int
    class_name: str | None
    confidence: float
    score: float
    p_value: float
    flagged: bool
    evidence: dict[str, float]
    false_alarm_rate: float
    guard: str


class Verdict(Judgement):
    """An input that was judged."""

    name: str
    milliseconds: dict[str, float]


class Verdicts(BaseModel):
    """A result per input, in their order."""

    results: list[Verdict | Broken]


class Health(BaseModel):
    """How the service is."""

    status: str


class GuardInformation(BaseModel):
    """The guard that serves."""

    guard: str
    fingerprint: str


def errors(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals."""
    return {status: {"model": model} for status in statuses}


ERRORS = errors(Error, 400, 401, 403, 408, 413, 415, 500, 503) | {422: {"model": Verdicts}}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ONE_INPUT: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "description": "base64 of a picture", "contentEncoding": "base64"},
        {"type": "array", "description": "nested numbers in [0, 1]", "items": {}},
        {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "picture": {"type": "string", "contentEncoding": "base64"},
                "pixels": {"type": "array", "items": {}},
            },
            "additionalProperties": False,
        },
    ]
}
DETECT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"picture": {"type": "array", "items": _BINARY["schema"]}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {"inputs": {"type": "array", "items": _ONE_INPUT}},
                }
            },
            **dict.fromkeys(PICTURES, _BINARY),
        },
    }
}
