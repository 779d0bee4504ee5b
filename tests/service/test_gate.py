"""Who gets in, and what every answer bears."""

import socket

import httpx
import pytest

from advdetect.service.gate import HEADERS
from tests.service.processes import Started

TOKEN = "a-token-of-some-length"
PATHS = [
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/v2"),
    ("GET", "/v2/models/small"),
    ("GET", "/v2/models/small/ready"),
    ("POST", "/v2/models/small/infer"),
    ("POST", "/v1/detect"),
    ("POST", "/v1/reload"),
    ("GET", "/nothing"),
]


@pytest.fixture(scope="module")
def guarded(start):
    """A server with a token, and a client that shows none."""
    with start(token=TOKEN) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}"],
)
def test_without_the_token_nothing_but_health(guarded, method, path, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    response = guarded.client.request(method, path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    error = response.json()["error"]
    assert (error if path.startswith("/v2") else error["message"]).startswith("expected Author")
    assert response.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"])
def test_health_is_open(guarded, path):
    assert guarded.client.get(path).status_code == 200


def test_with_the_token_everything(guarded, sent):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.client.get("/metrics", headers=headers).status_code == 200
    response = guarded.client.post("/v1/detect", headers=headers, json={"inputs": sent.base64[:1]})
    assert response.status_code == 200
    # Behind a proxy it goes by another name, and the token is enough.
    elsewhere = headers | {"Host": "guard.example"}
    assert guarded.client.get("/metrics", headers=elsewhere).status_code == 200


def test_a_page_that_points_its_name_here_reads_nothing(server):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1].example", ""):
        response = server.client.get("/healthz", headers={"Host": host})
        assert response.status_code == 403, host
        assert response.json()["error"]["reason"] == "host"
    for host in ("localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"):
        assert server.client.get("/healthz", headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize(
    "path", ["/healthz", "/metrics", "/nothing", "/openapi.json", "/v2/nothing"]
)
def test_every_answer_bears_the_headers(server, path):
    response = server.client.get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "server" not in response.headers
    assert "unsafe" not in response.headers["content-security-policy"]


def test_errors_are_json_and_tell_nothing_of_the_inside(server, monkeypatch, caplog):
    assert server.client.get("/nothing").json() == {
        "error": {"reason": "path", "message": "no such path"}
    }
    assert server.client.get("/v1/detect").json()["error"]["reason"] == "method"
    assert server.client.delete("/v2").json() == {"error": "this path takes another method"}
    monkeypatch.setattr(type(server.service), "decode", lambda *_, **__: 1 / 0)
    response = server.client.post("/v1/detect", content=b"x", headers={"Content-Type": "image/png"})
    assert response.status_code == 500
    assert response.json() == {
        "error": {"reason": "internal", "message": "the service failed; its log says how"}
    }
    assert response.headers["x-frame-options"] == "DENY"
    assert "ZeroDivisionError" in caplog.text


def test_the_log_holds_nothing_of_a_picture(server, sent, caplog):
    caplog.set_level("DEBUG", "advdetect")
    files = [("picture", ("secret-name.png", sent.pictures[0])), ("picture", ("b", b"secret"))]
    assert server.client.post("/v1/detect", files=files).status_code == 200
    assert "secret" not in caplog.text


def test_a_slow_client_is_told_and_a_client_that_goes_costs_nothing(start, sent):
    head = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with start(timeout=0.8) as running:
        address = running.listening.getsockname()
        with socket.create_connection(address, 10) as slow:
            slow.sendall(head + b"Content-Length: 100\r\n\r\nhalf")
            answer = b"".join(iter(lambda: slow.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the request did not arrive within 0.8 seconds" in answer
        with socket.create_connection(address, 10) as leaving:
            leaving.sendall(head + b"Content-Length: 100\r\n\r\nhalf")
        response = running.client.post("/v1/detect", json={"inputs": sent.base64[:1]})
        assert response.status_code == 200
        assert running.service.bytes_held == 0
        answered = 'advdetect_requests_total{route="/v1/detect",status="%d"}'
        books = running.metrics()
        assert [books[answered % status] for status in (200, 408, 499)] == [1, 1, 1]


def test_connections_that_ask_nothing_are_closed(start, sent):
    with start(timeout=0.8) as running:
        address = running.listening.getsockname()
        silent = [socket.create_connection(address, 10) for _ in range(20)]
        dribbling = socket.create_connection(address, 10)
        dribbling.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        again = socket.create_connection(address, 10)
        again.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert again.recv(65536).startswith(b"HTTP/1.1 200")
        again.sendall(b"GET /healthz HTTP/1.1\r\n")
        asked = running.client.post("/v1/detect", json={"inputs": sent.base64[:1]})
        assert asked.status_code == 200
        for one in (*silent, dribbling, again):
            with one:
                while one.recv(65536):
                    pass
        assert running.client.get("/healthz").status_code == 200


def test_another_loopback_address_goes_by_its_own_name(small_guard_folder):
    with Started(small_guard_folder, "--host", "127.0.0.2") as server:
        assert "//127.0.0.2:" in server.url
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        elsewhere = httpx.get(f"{server.url}/healthz", headers={"Host": "guard.example"})
        assert elsewhere.status_code == 403
        assert server.end() == 0
