"""``GET /v1/traffic``: the books as the page draws them."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from prometheus_client import Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel

from advdetect.service.schemas import Error, errors
from advdetect.service.service import Service

# The routes that judge; what a page or a scraper asks is no traffic.
JUDGING = ("/v1/detect", "/infer")


class Bin(BaseModel):
    """How many p-values lie above the last bin's ``upto``, and up to this."""

    upto: float
    count: int


class Traffic(BaseModel):
    """Counts since the service began."""

    requests: int
    refused: int
    inputs: int
    flagged: int
    false_alarm_rate: float
    waiting: int
    p_values: list[Bin]
    drift_warning: bool
    drift_evidence: float | None
    ready: bool


def traffic_routes(service: Service) -> APIRouter:
    """The route, for one service."""
    router = APIRouter()

    @router.get(
        "/v1/traffic",
        response_model=Traffic,
        responses=errors(Error, 401, 403),
        summary="The books in short",
    )
    async def traffic() -> JSONResponse:
        """What ``/metrics`` says, summed up: requests, inputs, flags, p-values and drift."""
        books = read_traffic(service.metrics.registry)
        return JSONResponse({**books, "ready": service.ready})

    return router


def read_traffic(registry: Collector) -> dict[str, Any]:
    """Sum up a registry, of one process or gathered from several."""
    families = {family.name: family for family in registry.collect()}
    requests = [
        (sample.labels, sample.value)
        for sample in _samples(families, "advdetect_requests", "_total")
        if sample.labels["route"].endswith(JUDGING)
    ]
    evidence = [sample.value for sample in _samples(families, "advdetect_drift_evidence")]
    rates = [sample.value for sample in _samples(families, "advdetect_nominal_false_alarm_rate")]
    return {
        "requests": int(sum(value for _, value in requests)),
        "refused": int(sum(value for labels, value in requests if labels["status"] != "200")),
        "inputs": int(_total(families, "advdetect_inputs", "_total")),
        "flagged": int(_total(families, "advdetect_flagged", "_total")),
        "false_alarm_rate": max(rates, default=0.0),
        "waiting": int(_total(families, "advdetect_queue_depth")),
        "p_values": _bins(_samples(families, "advdetect_p_value", "_bucket")),
        "drift_warning": any(
            sample.value > 0 for sample in _samples(families, "advdetect_drift_warning")
        ),
        "drift_evidence": max(evidence, default=None),
    }


def _samples(families: Mapping[str, Metric], name: str, ending: str = "") -> list[Any]:
    family = families.get(name)
    found = () if family is None else family.samples
    return [sample for sample in found if sample.name == name + ending]


def _total(families: Mapping[str, Metric], name: str, ending: str = "") -> float:
    return sum(sample.value for sample in _samples(families, name, ending))


def _bins(buckets: Iterable[Any]) -> list[dict[str, float]]:
    """From cumulative buckets to counts; no p-value is above 1, so the last, infinite, is empty."""
    upto: dict[float, float] = {}
    for sample in buckets:
        edge = float(sample.labels["le"])
        upto[edge] = upto.get(edge, 0.0) + sample.value
    bins, before = [], 0.0
    for edge in sorted(upto):
        if edge <= 1:
            bins.append({"upto": edge, "count": int(upto[edge] - before)})
            before = upto[edge]
    return bins
