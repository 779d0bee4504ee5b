"""Books that agree with the clients' count, readiness, reloading, overload and the end."""

import asyncio
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from advdetect.service.service import Service
from advdetect.service.settings import Settings
from advdetect.workflows.guards import load_guard_once

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def own_guard(small_guard_folder, tmp_path):
    """A copy of the small guard, to be changed."""
    return shutil.copytree(small_guard_folder, tmp_path / "small")


def replace(folder, small_guard, rate):
    """Write another guard in the place of one, as advdetect fit does."""
    before, small_guard.false_alarm_rate = small_guard.false_alarm_rate, rate
    try:
        small_guard.save(folder)
    finally:
        small_guard.false_alarm_rate = before


def test_the_books_hold_what_clients_saw(start, sent):
    with start() as server:
        seen = []
        for i in range(6):
            inputs = [*sent.base64[: i + 1], "broken"]
            response = server.client.post("/v1/detect", json={"inputs": inputs})
            seen += [result for result in response.json()["results"] if "error" not in result]
        server.client.post("/v1/detect", content=b"", headers={"Content-Type": "text/plain"})
        books = server.metrics()
        assert books["advdetect_inputs_total"] == len(seen) == 21
        assert books["advdetect_flagged_total"] == sum(result["flagged"] for result in seen)
        assert books["advdetect_p_value_count"] == 21
        total = sum(result["p_value"] for result in seen)
        assert books["advdetect_p_value_sum"] == pytest.approx(total)
        low = sum(result["p_value"] <= 0.5 for result in seen)
        assert books['advdetect_p_value_bucket{le="0.5"}'] == low
        assert books['advdetect_requests_total{route="/v1/detect",status="200"}'] == 6
        assert books['advdetect_requests_total{route="/v1/detect",status="415"}'] == 1
        assert books['advdetect_rejected_inputs_total{reason="input"}'] == 6
        assert books['advdetect_rejected_inputs_total{reason="content-type"}'] == 1
        assert books['advdetect_stage_seconds_count{stage="decode"}'] == 6
        assert books['advdetect_stage_seconds_count{stage="wait"}'] == 21
        batches = books["advdetect_batch_size_count"]
        assert books["advdetect_batch_size_sum"] == 21
        assert books['advdetect_stage_seconds_count{stage="forward"}'] == batches
        assert books['advdetect_stage_seconds_count{stage="detect"}'] == batches
        assert books["advdetect_queue_depth"] == 0
        assert 0 < books["advdetect_guard_age_seconds"] < 60
        assert books["advdetect_nominal_false_alarm_rate"] == 0.05
        name, fingerprint = server.service.served.name, server.service.served.fingerprint
        label = f'advdetect_guard_info{{fingerprint="{fingerprint}",name="{name}"}}'
        assert books[label] == 1
        types = server.client.get("/metrics").headers["content-type"]
        assert types == "text/plain; version=0.0.4; charset=utf-8"


def test_the_description_of_the_routes(server):
    paths = server.client.get("/openapi.json").json()["paths"]
    assert set(paths) >= {"/v1/detect", "/v1/reload", "/v2/models/{name}/infer", "/metrics"}
    kinds = set(paths["/v1/detect"]["post"]["requestBody"]["content"])
    assert kinds >= {"multipart/form-data", "application/json", "image/png", "image/webp"}


def test_the_description_as_a_page(server):
    page = server.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h2><code>POST /v1/detect</code></h2>" in page.text
    assert "<li>takes <code>image/webp</code></li>" in page.text
    assert "http" not in page.text.replace("HTTP", "")  # nothing comes from elsewhere
    assert "<script" not in page.text


def test_ready_only_once_the_guard_has_answered(start):
    with start() as server:
        server.service.ready = False
        for path in ("/readyz", "/v2/health/ready", "/v2/models/small/ready"):
            response = server.client.get(path)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert "the guard has not answered yet" in response.text
        assert server.client.get("/healthz").status_code == 200


def test_a_new_service_is_not_ready_before_its_guard_has_answered(server):
    async def check():
        service = Service(server.service.served, Settings(), "small")
        assert not service.ready
        await service.warm_up()
        assert service.ready
        await service.stop()
        assert not service.ready
        assert service.books.inputs == 0

    asyncio.run(check())


def test_drift_is_noticed_and_said(start, sent, caplog):
    with start(max_inputs=10) as server:
        # The same ten pictures over and over: whatever they are, it is not clean traffic.
        for _ in range(60):
            server.client.post("/v1/detect", json={"inputs": sent.base64})
        books = server.metrics()
        assert books["advdetect_drift_warning"] == 1
        assert books["advdetect_drift_evidence"] > 0
        message = "drift: the p-values of recent traffic are not uniform"
        assert sum(message in record.message for record in caplog.records) == 1


def wait_until(holds):
    for _ in range(2000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to be")


class Held:
    """Holds a service's guard until let go."""

    def __init__(self, server, monkeypatch):
        self.go, self.begun = threading.Event(), threading.Event()
        judge = type(server.service.served).judge

        def wait(served, images):
            self.begun.set()
            assert self.go.wait(20)
            return judge(served, images)

        monkeypatch.setattr(type(server.service.served), "judge", wait)


def post(server, inputs, **options):
    return httpx.post(f"{server.url}/v1/detect", json={"inputs": inputs}, timeout=30, **options)


def test_a_full_queue_is_answered_at_once(start, sent, monkeypatch):
    with start(max_queue=4, max_inputs=4, max_batch=2) as server, ThreadPoolExecutor() as pool:
        held = Held(server, monkeypatch)
        first = [pool.submit(post, server, sent.base64[:2])]
        assert held.begun.wait(20)
        first += [pool.submit(post, server, sent.base64[:2]) for _ in range(2)]
        wait_until(lambda: server.service.batcher.depth == 4)
        assert server.metrics()["advdetect_queue_depth"] == 4
        started = time.perf_counter()
        refused = post(server, sent.base64[:1])
        assert time.perf_counter() - started < 1
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"] == {
            "reason": "busy",
            "message": "too many inputs wait already: ask again later",
        }
        held.go.set()
        assert [promise.result().status_code for promise in first] == [200] * 3
        assert server.metrics()['advdetect_rejected_inputs_total{reason="busy"}'] == 1


def test_a_request_has_its_time_and_no_more(start, sent, monkeypatch):
    with start(timeout=0.8) as server:
        held = Held(server, monkeypatch)
        started = time.perf_counter()
        response = post(server, sent.base64[:2])
        assert 0.7 < time.perf_counter() - started < 3
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["error"] == {
            "reason": "timeout",
            "message": "no verdict within 0.8 seconds",
        }
        held.go.set()
        assert post(server, sent.base64[:2]).status_code == 200


def test_large_requests_share_a_bounded_memory(start, sent):
    with start(max_bytes=10_000) as server:
        server.service.bytes_held = 16 * 10_000
        response = post(server, sent.base64[:1])
        assert (response.status_code, response.json()["error"]["reason"]) == (503, "memory")
        server.service.bytes_held = 0
        assert post(server, sent.base64[:1]).status_code == 200


def test_reloading_needs_a_token(server):
    response = server.client.post("/v1/reload")
    assert response.status_code == 403
    assert "reloading over HTTP needs a service with a token" in response.text


def test_a_bad_guard_is_refused_and_the_old_one_serves_on(start, own_guard, sent, caplog):
    with start(own_guard, token=TOKEN, headers=BEARER) as server:
        before = server.service.served
        weights = own_guard / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        response = server.client.post("/v1/reload")
        assert response.status_code == 409
        assert response.json()["error"] == {
            "reason": "guard",
            "message": "the new guard was refused, the old one serves on; the log says why",
        }
        assert "the new guard was refused, the old one serves on" in caplog.text
        assert server.service.served is before
        shutil.rmtree(own_guard)
        assert server.client.post("/v1/reload").status_code == 409
        assert server.client.post("/v1/detect", json={"inputs": sent.base64}).status_code == 200
        assert server.metrics()['advdetect_reloads_total{outcome="refused"}'] == 2


def test_a_guard_replaced_under_load_loses_no_request(start, own_guard, small_guard, sent):
    with start(own_guard, token=TOKEN, headers=BEARER) as server:
        stop = threading.Event()

        def some_more():
            before = server.service.books.inputs
            wait_until(lambda: server.service.books.inputs > before + 50)

        def ask():
            found = []
            with httpx.Client(base_url=server.url, headers=BEARER, timeout=30) as client:
                while not stop.is_set():
                    response = client.post("/v1/detect", json={"inputs": sent.base64[:3]})
                    assert response.status_code == 200, response.text
                    found += response.json()["results"]
            return found

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            prints = [load_guard_once(str(own_guard))[1]]
            for rate in (0.2, 0.1):
                some_more()
                replace(own_guard, small_guard, rate)
                answer = server.client.post("/v1/reload").json()
                assert answer["guard"] == "small"
                prints.append(answer["fingerprint"])
            some_more()
            stop.set()
            results = [result for client in asking for result in client.result()]
        assert len(set(prints)) == 3
        rates = dict(zip(prints, (0.05, 0.2, 0.1), strict=True))
        assert {result["guard"] for result in results} == set(prints)
        for i, result in enumerate(results):
            assert result["label"] == sent.labels[i % 3]
            assert result["false_alarm_rate"] == rates[result["guard"]]
            assert result["flagged"] == (result["p_value"] <= rates[result["guard"]])
        books = server.metrics()
        assert books["advdetect_inputs_total"] == len(results)
        assert books['advdetect_reloads_total{outcome="loaded"}'] == 2
        assert sum(name.startswith("advdetect_guard_info") for name in books) == 1
        assert np.isclose(books["advdetect_nominal_false_alarm_rate"], 0.1)


def test_ending_under_load_answers_what_was_accepted(start, sent, caplog):
    caplog.set_level("INFO", "advdetect")
    with start() as server:

        def ask():
            answered = judged = 0
            with httpx.Client(base_url=server.url, timeout=30) as client:
                while True:
                    try:
                        response = client.post("/v1/detect", json={"inputs": sent.base64[:3]})
                    except httpx.ReadTimeout:
                        raise
                    except httpx.TransportError:
                        return answered, judged  # no longer accepted
                    answered += 1
                    if response.status_code == 200:
                        judged += len(response.json()["results"])

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            wait_until(lambda: server.service.books.inputs > 100)
            server.stop()
            counts = [client.result() for client in asking]
        answered, judged = (sum(column) for column in zip(*counts, strict=True))
        assert answered > 33
        books = server.service.books
        assert books.inputs == judged
        assert f"stopped: {books.requests} requests answered, {judged} inputs judged" in caplog.text
