"""The books of a service, for Prometheus."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from advdetect.service.books import SharedBooks
    from advdetect.service.served import Judged, Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
P_VALUES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters, histograms and gauges in a registry of their own.

    Args:
        shared: What several processes write, and each of them reads the sum of.

    Attributes:
        registry: What is to be read, by ``collect()``: the values of the metrics here are this
            process's own.
    """

    def __init__(self, shared: "SharedBooks | None" = None) -> None:
        self._guards: set[tuple[str, str]] = set()
        own = CollectorRegistry()
        r = own if shared is None else None
        self.accepted = Counter(
            "advdetect_requests_accepted", "Requests whose head has arrived.", registry=r
        )
        self.requests = Counter(
            "advdetect_requests", "Requests answered.", ["route", "status"], registry=r
        )
        self.lost = Counter(
            "advdetect_requests_lost",
            "Requests accepted and never answered: cut off at the end, or a killed worker's.",
            registry=r,
        )
        self.inputs = Counter("advdetect_inputs", "Inputs judged.", registry=r)
        self.flagged = Counter("advdetect_flagged", "Inputs flagged.", registry=r)
        self.rejected = Counter(
            "advdetect_rejected_inputs",
            "Inputs without a verdict; a refused request counts as one.",
            ["reason"],
            registry=r,
        )
        self.reloads = Counter("advdetect_reloads", "Reloads.", ["outcome"], registry=r)
        for outcome in ("loaded", "refused"):  # an increase from nothing would go unseen
            self.reloads.labels(outcome)
        self.p_value = Histogram(
            "advdetect_p_value", "P-values given.", buckets=P_VALUES, registry=r
        )
        stages = Histogram(
            "advdetect_stage_seconds",
            "Decoding a request, waiting of an input, forward pass and detection of a batch.",
            ["stage"],
            buckets=SECONDS,
            registry=r,
        )
        self.decode, self.wait, self.forward, self.detect = (
            stages.labels(stage) for stage in ("decode", "wait", "forward", "detect")
        )
        self.latency = Histogram(
            "advdetect_request_seconds",
            "Requests from first byte to answer.",
            ["route"],
            buckets=SECONDS,
            registry=r,
        )
        self.batch_size = Histogram(
            "advdetect_batch_size", "Inputs of a batch.", buckets=BATCHES, registry=r
        )
        self.unwritten = Counter(
            "advdetect_log_lines_lost", "Lines that the log could not be given.", registry=r
        )
        self.restarts = Counter(
            "advdetect_worker_restarts", "Workers that ended unasked and were replaced.", registry=r
        )
        self.workers = Gauge(
            "advdetect_workers", "Processes that serve.", registry=r, multiprocess_mode="livesum"
        )
        self.queue_depth = Gauge(
            "advdetect_queue_depth", "Inputs that wait.", registry=r, multiprocess_mode="livesum"
        )
        self.connections = Gauge(
            "advdetect_connections", "Open connections.", registry=r, multiprocess_mode="livesum"
        )
        self.loaded = Gauge(
            "advdetect_guard_loaded_timestamp_seconds",
            "When the guard came into service.",
            registry=r,
            multiprocess_mode="livemin",
        )
        self.guard = Gauge(
            "advdetect_guard_info",
            "1 for the guard that serves.",
            ["name", "fingerprint"],
            registry=r,
            multiprocess_mode="livemax",
        )
        self.false_alarm_rate = Gauge(
            "advdetect_nominal_false_alarm_rate",
            "Share of clean inputs flagged.",
            registry=r,
            multiprocess_mode="livemax",
        )
        self.drift_evidence = Gauge(
            "advdetect_drift_evidence",
            "Log10 of the evidence for drift over what a warning needs; 0 or more warns.",
            registry=r,
            multiprocess_mode="livemax",
        )
        self.drift_warning = Gauge(
            "advdetect_drift_warning",
            "1 while drift warns.",
            registry=r,
            multiprocess_mode="livemax",
        )
        self.registry = CollectorRegistry()
        self.registry.register(_Present(own if shared is None else shared))

    def serve(self, served: "Served") -> None:
        """Note which guard serves."""
        for labels in list(self._guards):
            self.guard.labels(*labels).set(0)
        labels = (served.name, served.fingerprint)
        self._guards.add(labels)
        self.guard.labels(*labels).set(1)
        self.false_alarm_rate.set(served.guard.false_alarm_rate)
        self.loaded.set(served.loaded)

    def enter(self, judged: "list[Judged]") -> None:
        """Enter one batch."""
        self.batch_size.observe(len(judged))
        self.forward.observe(judged[0].forward)
        self.detect.observe(judged[0].detect)
        self.inputs.inc(len(judged))
        self.flagged.inc(sum(found.verdict["flagged"] for found in judged))
        for found in judged:
            self.p_value.observe(found.verdict["p_value"])

    def text(self) -> bytes:
        """The books as Prometheus reads them."""
        return generate_latest(self.registry)


class _Present(Collector):
    """What another collector finds, but only the guard that serves, and its age now."""

    def __init__(self, inner: Collector) -> None:
        self._inner = inner

    def collect(self) -> Iterable[Metric]:
        age = GaugeMetricFamily("advdetect_guard_age_seconds", "Since the guard came into service.")
        for metric in self._inner.collect():
            if metric.name == "advdetect_guard_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric
            if metric.name == "advdetect_guard_loaded_timestamp_seconds":
                for sample in metric.samples:
                    age.add_metric([], max(0.0, time.time() - sample.value))
        yield age
