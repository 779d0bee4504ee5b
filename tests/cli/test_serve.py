"""advdetect serve, as an operator starts, signals and ends it."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.service.processes import Started


def test_from_start_to_end(small_guard_folder, small_guard, pictures, tmp_path):
    folder = shutil.copytree(small_guard_folder, tmp_path / "small")
    picture = (pictures / "0.png").read_bytes()
    with Started(folder, "--max-delay-ms", "1") as server:
        assert server.lines[0] == f"serving small on {server.url}\n"

        done = threading.Semaphore(0)

        def ask():
            answered = 0
            with httpx.Client(base_url=server.url, timeout=30) as client:
                while True:
                    try:
                        headers = {"Content-Type": "image/png"}
                        response = client.post("/v1/detect", content=picture, headers=headers)
                    except httpx.ReadTimeout:
                        raise
                    except httpx.TransportError:
                        return answered
                    assert response.status_code == 200, response.text
                    answered += 1
                    done.release()

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            small_guard.save(folder)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("loaded guard small, fingerprint")
            (folder / "guard.json").write_text("{}")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("the new guard was refused, the old one serves on")
            for _ in range(5):  # on a busy machine the first answers take their time
                assert done.acquire(timeout=30)
            assert server.end() == 0
            answered = sum(client.result() for client in asking)
        found = re.search(r"stopped: (\d+) requests answered, (\d+) inputs", server.lines[-1])
        assert int(found[1]) == int(found[2]) == answered > 4
        assert not [line for line in server.lines if "Traceback" in line]


def test_a_keyboard_interrupt_ends_it_as_well(small_guard_folder):
    with Started(small_guard_folder) as server:
        assert server.end(signal.SIGINT) == 0
        assert "stopped: 0 requests answered" in server.lines[-1]


def test_a_mistake_is_one_line(refused, small_guard_folder, tmp_path):
    guard = small_guard_folder
    refused("serve", "nothing", "--port", 0, error="no guard 'nothing' (no such folder)")
    refused("serve", tmp_path, "--port", 0, error=f"no guard '{tmp_path}' (it holds no guard.json)")
    refused("serve", guard, "--host", "0.0.0.0", error="whoever reaches 0.0.0.0 could use the")
    refused("serve", guard, "--host", "guard.example", error="whoever reaches guard.example could")
    refused("serve", guard, "--max-batch", 0, error="max-batch is at least 1")
    refused("serve", guard, "--max-bytes", 0, error="max-bytes is at least 1")
    refused("serve", guard, "--timeout", 0, error="a delay is 0 to 86400 seconds, and a time limit")
    refused("serve", guard, "--max-delay-ms", -1, error="a delay is 0 to")
    refused("serve", guard, "--max-queue", 8, error="a request of max-inputs (256) must fit into")
    refused("serve", guard, "--port", 70000, error="a port is a number from 0 to 65535, got 70000")
    refused("serve", guard, "--host", "192.0.2.1", "--insecure", error="cannot listen on 192.0.2.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = f"cannot listen on 127.0.0.1:{port}: Address already in use"
        refused("serve", guard, "--port", port, error=error)


def test_a_token_is_read_from_a_file(refused, small_guard_folder, tmp_path):
    file = tmp_path / "token"
    options = ["serve", small_guard_folder, "--port", 0, "--token-file", file]
    refused(*options, error=f"{file}: No such file or directory")
    for content in (b"", b"short", b"two words of some length", b"two\nlines-of-some-length"):
        file.write_bytes(content)
        refused(*options, error=f"{file}: expected a token, one word of 16 characters or more")
    file.write_bytes(b"\xff" * 20)
    refused(*options, error=f"{file}: no text file")
    file.write_text("a-token-of-some-length\n")
    with Started(*options[1:2], "--token-file", file) as server:
        assert httpx.get(f"{server.url}/metrics").status_code == 401
        headers = {"Authorization": "Bearer a-token-of-some-length"}
        assert httpx.get(f"{server.url}/metrics", headers=headers).status_code == 200
        assert server.end() == 0


@pytest.mark.parametrize("option", ["--timeout", "--max-delay-ms"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_times_are_finite(refused, small_guard_folder, option, value):
    refused("serve", small_guard_folder, option, value, error="a delay is 0 to 86400 seconds, and")


def test_without_the_extra_it_says_what_to_install(refused, small_guard_folder, monkeypatch):
    monkeypatch.setattr("advdetect.service.extra.NEEDED", ("fastapi", "no_such_module"))
    message = 'serving needs an extra: pip install "advdetect[serve]"'
    assert refused("serve", small_guard_folder, error=message) == f"error: {message}\n"


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "prometheus_client", "torch"])
def test_help_imports_nothing_heavy(module):
    code = (
        "import sys, contextlib, io\n"
        "from advdetect.cli import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    app(['serve', '--help'])\n"
        f"print({module!r} in sys.modules)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
