"""A line an event and a line a request: what they say, what they do not, and at what cost."""

import io
import json
import logging
import os
import socket
import sys

import httpx
import pytest

from advdetect.service.logs import ACCESS, AsideHandler, JsonLines, TextLines
from tests.service.processes import Started, wait_until


@pytest.fixture
def handler():
    """Makes handlers for a stream, and ends them."""
    made = []

    def make(stream):
        made.append(AsideHandler(stream))
        return made[-1]

    yield make
    for one in made:
        one.close()


def record(level=logging.INFO, message="said", **extra):
    found = logging.LogRecord("advdetect", level, "file.py", 1, message, (), None)
    found.__dict__.update(extra)
    return found


def test_a_line_for_each_request(server, sent, caplog):
    caplog.set_level("INFO", ACCESS)
    headers = {"Content-Type": "image/png"}
    path = "/v1/detect?resize=false&token=secret"
    answer = server.client.post(path, content=sent.pictures[0], headers=headers)
    server.client.get("/odd%0Apath%1B[31m" + "x" * 300)

    def written():
        own = [one for one in caplog.records if one.name == ACCESS]
        return [one for one in own if one.request["path"] != "/readyz"]  # the fixture's, late

    # A line is written once its answer is on the way.
    found = wait_until(lambda: len(written()) == 2 and written())
    lines = [one.getMessage() for one in found]
    n = len(answer.content)
    assert lines[0].startswith(f"127.0.0.1 POST /v1/detect 200 {n} bytes ")
    assert lines[0].endswith(" ms")
    assert "secret" not in caplog.text
    assert lines[1].startswith(r"127.0.0.1 GET /odd\npath\x1b[31mxxx")
    assert len(lines[1]) < 300
    line = json.loads(JsonLines(2).format(found[0]))
    assert line.pop("milliseconds") > 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "worker": 2,
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/v1/detect",
        "status": 200,
        "bytes": n,
    }


def test_lines_that_are_no_requests():
    line = json.loads(JsonLines(None).format(record(logging.ERROR)))
    assert (line["level"], line["message"], "worker" in line) == ("ERROR", "said", False)
    try:
        raise ValueError("why")
    except ValueError:
        failed = record(exc_info=sys.exc_info())
    assert "ValueError: why" in json.loads(JsonLines(None).format(failed))["traceback"]
    assert TextLines(None).format(record()).endswith(" INFO said")
    assert TextLines(3).format(record()).endswith(" INFO [3] said")


def test_lines_are_written_in_their_order_and_the_last_ones_too(handler):
    stream = io.StringIO()
    aside = handler(stream)
    for i in range(1000):
        aside.emit(record(message=f"line {i}"))
    aside.close()
    assert stream.getvalue().splitlines() == [f"line {i}" for i in range(1000)]
    assert aside.lost == 0


def test_a_reader_that_is_stuck_costs_lines_and_no_time(handler):
    reading, writing = os.pipe()
    counted = []
    with os.fdopen(writing, "w") as stream:
        aside = handler(stream)
        aside.count = counted.append
        for i in range(40_000):
            aside.emit(record(message=f"line {i} " + "x" * 100))
        assert aside.lost == sum(counted) > 10_000
        os.close(reading)  # which ends the write that was stuck
        aside.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_costs_lines_and_no_answer(small_guard_folder, sent):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open("/dev/full", "w") as full:
        started = Started(small_guard_folder, "--port", port, stderr=full)
        started.url = f"http://127.0.0.1:{port}"

        def ready():
            try:
                return httpx.get(f"{started.url}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(ready)
            with httpx.Client(base_url=started.url, timeout=30) as client:
                for _ in range(50):
                    headers = {"Content-Type": "image/png"}
                    answer = client.post("/v1/detect", content=sent.pictures[0], headers=headers)
                    assert answer.status_code == 200
                wait_until(lambda: started.metrics()["advdetect_log_lines_lost_total"] >= 50)
                assert started.metrics()["advdetect_inputs_total"] == 50
            started.process.terminate()
            assert started.process.wait(30) == 0
        finally:
            started.process.kill()
            started.process.wait()
