"""Clients that go, dawdle or come by the thousand: all are answered, and the books agree."""

import asyncio
import os
import resource
import socket
import struct
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.service.processes import Started, wait_until

HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CONNECTIONS = 2200


def request_of(picture):
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(picture) + picture


def answer_to(connection):
    """All that comes until the end."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def reset(connection):
    """Go without a word, as a crashed client does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def books_agree(metrics):
    """Whether all that was accepted was answered, but for the request for these books."""
    answered = sum(v for k, v in metrics.items() if k.startswith("advdetect_requests_total"))
    lost = metrics["advdetect_requests_lost_total"]
    return metrics["advdetect_requests_accepted_total"] == answered + lost + 1 and lost == 0


def test_clients_of_all_manners_at_once(start, sent):
    """Some go mid-body, some after it, some dawdle; those that stay get theirs."""
    with start(timeout=3, max_connections=500) as server:
        address = server.listening.getsockname()
        request = request_of(sent.pictures[0])

        def go_in_the_middle():
            connection = socket.create_connection(address, 10)
            connection.sendall(request[: len(request) // 2])
            reset(connection)

        def go_without_reading():
            connection = socket.create_connection(address, 10)
            connection.sendall(request)
            reset(connection)

        def dawdle():
            with socket.create_connection(address, 10) as connection:
                for i in range(0, len(request), 40):
                    connection.sendall(request[i : i + 40])
                    time.sleep(0.05)
                return connection.recv(65536).startswith(b"HTTP/1.1 200 ")

        def stay():
            response = httpx.post(
                f"{server.url}/v1/detect",
                content=sent.pictures[0],
                headers={"Content-Type": "image/png"},
                timeout=30,
            )
            return response.status_code == 200

        with ThreadPoolExecutor(16) as pool:
            manners = [go_in_the_middle, go_without_reading, dawdle, stay] * 15
            found = [pool.submit(manner) for manner in manners]
            results = [one.result() for one in found]
        assert results == [None, None, True, True] * 15
        metrics = wait_until(lambda: (m := server.metrics()) and books_agree(m) and m)
        answers = {
            status: metrics.get(f'advdetect_requests_total{{route="/v1/detect",status="{status}"}}')
            for status in (200, 499)
        }
        # Who goes in the middle is booked as gone, or has gone before the head was read.
        assert 30 <= answers[200] <= 45
        assert 0 <= (answers[499] or 0) <= 30
        assert server.service.bytes_held == 0


def test_decoding_has_its_time_too(start, sent, monkeypatch):
    let_go = threading.Event()
    with start(timeout=0.8) as server:
        from advdetect.service import detecting

        decode = detecting.decode

        def slow(*arguments, **options):
            assert let_go.wait(20)
            return decode(*arguments, **options)

        monkeypatch.setattr(detecting, "decode", slow)
        response = server.client.post(
            "/v1/detect?resize=true",
            content=sent.pictures[0],
            headers={"Content-Type": "image/png"},
        )
        let_go.set()
        assert response.status_code == 503
        assert response.json()["error"]["message"] == "no verdict within 0.8 seconds"
        assert server.client.get("/healthz").status_code == 200


@pytest.mark.parametrize("requests", [1, 50])
def test_who_does_not_read_the_answer_is_cut_off(start, requests):
    """Whether the server still writes, or is done and keeps for its client what is left."""
    with start(timeout=0.5) as server, socket.socket() as deaf:
        # The system keeps little of an answer, so that the server has to.
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        server.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        deaf.connect(server.listening.getsockname())
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * requests)
        wait_until(lambda: server.metrics()["advdetect_connections"] == 2)
        wait_until(lambda: server.metrics()["advdetect_connections"] == 1)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 200_000,
        b"GET /" + b"x" * 200_000,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: 1\r\n" * 20_000 + b"\r\n",
    ],
    ids=["a header without end", "a path without end", "headers without end"],
)
def test_a_head_has_an_end(server, head):
    with socket.create_connection(server.listening.getsockname(), 10) as connection:
        try:
            connection.sendall(head)
            assert answer_to(connection).startswith(b"HTTP/1.1 400 ")
        except ConnectionError:  # it was closed before all of it was sent
            pass
    assert server.client.get("/healthz").status_code == 200


def test_a_large_body_after_a_small_head_is_no_long_head(server):
    body = b"x" * 150_000
    for _ in range(3):
        response = server.client.post(
            "/v1/detect", content=body, headers={"Content-Type": "image/png"}
        )
        assert response.status_code == 422


def test_connections_above_the_limit_are_told_so(start, sent):
    with start(max_connections=20, timeout=5) as server:
        server.client.get("/healthz")  # one, which stays
        address = server.listening.getsockname()
        held = [socket.create_connection(address, 10) for _ in range(19)]
        for connection in held:
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(address, 10) as surplus:
            surplus.sendall(request_of(sent.pictures[0]))
            told = answer_to(surplus)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in told.lower()
        assert b"too many connections: ask again later" in told
        with socket.create_connection(address, 10) as silent:
            assert answer_to(silent) == b""  # after a second, not after ten
        assert server.client.get("/healthz").status_code == 200
        for connection in held:
            connection.close()
        wait_until(lambda: server.metrics()["advdetect_connections"] == 1)
        with httpx.Client() as another:
            assert another.get(f"{server.url}/healthz").status_code == 200
        key = 'advdetect_rejected_inputs_total{reason="connections"}'
        assert server.metrics()[key] == 1


async def come(address, count):
    """Open ``count`` connections, keep them, and ask on each; returns statuses, 0 for none."""
    opened = 0
    all_open = asyncio.Event()

    async def one():
        nonlocal opened
        reader, writer = await asyncio.open_connection(*address)
        opened += 1
        if opened == count:
            all_open.set()
        try:
            await all_open.wait()
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            return int(head[9:12])
        except (ConnectionError, asyncio.IncompleteReadError):
            return 0
        finally:
            writer.close()

    async with asyncio.timeout(120):
        return Counter(await asyncio.gather(*(one() for _ in range(count))))


def test_thousands_of_connections(small_guard_folder, sent):
    """All of them at a time: each is answered or told to come again, and none is forgotten."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + 400:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 400), hard))
    options = ("--max-connections", 2000, "--timeout", 60, "--no-access-log")
    try:
        with Started(small_guard_folder, *options) as server:
            address = server.url.removeprefix("http://").split(":")
            statuses = asyncio.run(come(address, CONNECTIONS))
            assert set(statuses) == {200, 503}
            assert statuses[200] == 2000
            headers = {"Content-Type": "image/png"}
            url = f"{server.url}/v1/detect"
            wait_until(lambda: httpx.get(f"{server.url}/healthz").status_code == 200)
            assert httpx.post(url, content=sent.pictures[0], headers=headers).status_code == 200
            metrics = server.metrics()
            assert books_agree(metrics)
            told = 'advdetect_requests_total{route="none",status="503"}'
            assert metrics[told] >= statuses[503]
            assert server.end() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_without_httptools_the_same_limits_hold(small_guard_folder, sent, tmp_path):
    (tmp_path / "httptools.py").write_text("raise ImportError\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}:."
    options = ("--max-connections", 2, "--timeout", 5)
    with Started(small_guard_folder, *options, PYTHONPATH=path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        address = host, int(port)
        held = [socket.create_connection(address, 10) for _ in range(2)]
        for connection in held:
            connection.sendall(request_of(sent.pictures[0]))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(address, 10) as surplus:
            surplus.sendall(GET)
            assert answer_to(surplus).startswith(b"HTTP/1.1 503 ")
        with socket.create_connection(address, 10) as silent:
            assert answer_to(silent) == b""
        held.pop().close()
        with socket.create_connection(address, 10) as endless:
            endless.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 80_000)
            assert answer_to(endless).startswith(b"HTTP/1.1 400 ")
        held.pop().close()
        assert server.end() == 0
