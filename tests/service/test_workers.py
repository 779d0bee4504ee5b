"""Several workers: one guard, one set of books, none missed for long."""

import os
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

from tests.service.processes import Started, wait_until

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PNG = {**BEARER, "Content-Type": "image/png"}


@pytest.fixture(scope="module")
def folder(small_guard_folder, tmp_path_factory):
    """The guard's folder, which tests change and put back."""
    return shutil.copytree(small_guard_folder, tmp_path_factory.mktemp("own") / "small")


@pytest.fixture(scope="module")
def pair(folder, tmp_path_factory):
    """Two workers."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    with Started(folder, "--workers", 2, "--token-file", token) as started:
        yield started
        assert started.end() == 0
        assert re.search(r"stopped: \d+ requests answered, \d+ inputs", started.lines[-1])
        assert not [line for line in started.lines if "Traceback" in line]


def ask(pair, picture):
    """Over a connection of its own, so that either worker may take it."""
    return httpx.post(f"{pair.url}/v1/detect", content=picture, headers=PNG, timeout=30)


def by_both(pair, picture):
    """Ask until both workers have answered; returns the results."""
    begun, results = len(pair.lines), []

    def both():
        results.extend(ask(pair, picture).json()["results"])
        lines = "".join(pair.lines[begun:])
        return all(f"[{i}] 127.0.0.1 POST /v1/detect 200" in lines for i in (1, 2))

    wait_until(both)
    return results


def test_one_set_of_books_for_all(pair, sent):
    before = pair.metrics(**BEARER)
    results = by_both(pair, sent.pictures[0])
    after = pair.metrics(**BEARER)
    assert after["advdetect_inputs_total"] - before["advdetect_inputs_total"] == len(results)
    answered = 'advdetect_requests_total{route="/v1/detect",status="200"}'
    assert after[answered] - before.get(answered, 0) == len(results)
    buckets = 'advdetect_request_seconds_bucket{le="+Inf",route="/v1/detect"}'
    assert after[buckets] - before.get(buckets, 0) == len(results)
    assert after["advdetect_workers"] == 2
    assert 0 < after["advdetect_guard_age_seconds"] < 600
    assert after["advdetect_queue_depth"] == 0
    assert sum(name.startswith("advdetect_guard_info") for name in after) == 1
    for result in results:
        assert result["label"] == sent.labels[0]
        assert result["score"] == pytest.approx(sent.scores[0], abs=1e-4)


def test_a_reload_reaches_all_or_none(pair, folder, small_guard, sent, tmp_path):
    before = by_both(pair, sent.pictures[0])[0]["guard"]
    kept = shutil.copytree(folder, tmp_path / "kept")
    rate, small_guard.false_alarm_rate = small_guard.false_alarm_rate, 0.2
    try:
        small_guard.save(folder)
    finally:
        small_guard.false_alarm_rate = rate
    reloaded = httpx.post(f"{pair.url}/v1/reload", headers=BEARER, timeout=60)
    assert reloaded.status_code == 200, reloaded.text
    now = reloaded.json()["fingerprint"]
    assert now != before
    assert {result["guard"] for result in by_both(pair, sent.pictures[0])} == {now}

    (folder / "detector.safetensors").write_bytes(b"damaged")
    refused = httpx.post(f"{pair.url}/v1/reload", headers=BEARER, timeout=60)
    assert refused.status_code == 409
    pair.process.send_signal(signal.SIGHUP)
    line = "the new guard was refused, the old one serves on: "
    refusals = wait_until(lambda: (found := [x for x in pair.lines if line in x])[1:] and found)
    assert all(str(folder / "detector.safetensors") in refusal for refusal in refusals)
    assert {result["guard"] for result in by_both(pair, sent.pictures[0])} == {now}
    books = pair.metrics(**BEARER)
    assert books['advdetect_reloads_total{outcome="refused"}'] == 2

    # A worker that is replaced now serves what the other does, not what is on the disk.
    number = replace_one(pair)
    assert {result["guard"] for result in by_both(pair, sent.pictures[0])} == {now}
    assert f"worker {number} serves" in "".join(pair.lines)

    shutil.copytree(kept, folder, dirs_exist_ok=True)
    loaded = len([one for one in pair.lines if "loaded guard" in one])
    pair.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len([one for one in pair.lines if "loaded guard" in one]) > loaded)
    assert {result["guard"] for result in by_both(pair, sent.pictures[0])} == {before}


def test_clients_that_come_together_are_shared_out(pair):
    """Neither worker takes all that wait: each gets at least an eighth of 48."""
    host, port = pair.url.removeprefix("http://").split(":")
    begun = len(pair.lines)
    clients = [socket.create_connection((host, int(port)), 10) for _ in range(48)]
    for client in clients:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for client in clients:
        with client:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")

    def by(number):
        line = f"[{number}] 127.0.0.1 GET /healthz 200"
        return sum(line in one for one in pair.lines[begun:])

    wait_until(lambda: by(1) + by(2) == 48)
    assert min(by(1), by(2)) >= 6


def replace_one(pair):
    """Kill a worker, and wait for another in its place."""
    begun = len(pair.lines)
    os.kill(pair.workers()[0], signal.SIGKILL)

    def replaced():
        return re.search(r"worker (\d) serves", "".join(pair.lines[begun:]))

    return int(wait_until(replaced)[1])


def test_a_killed_worker_takes_only_its_own_requests(pair, sent):
    before = pair.metrics(**BEARER)
    stop, answered, begun = threading.Event(), threading.Semaphore(0), len(pair.lines)

    def load():
        counts = {"answered": 0, "reset": 0, "refused": 0}
        with httpx.Client(base_url=pair.url, headers=PNG, timeout=30) as client:
            while not stop.is_set():
                try:
                    response = client.post("/v1/detect", content=sent.pictures[0])
                except httpx.ReadTimeout:
                    raise
                except httpx.TransportError:
                    counts["reset"] += 1
                    continue
                assert response.status_code == 200, response.text
                counts["answered"] += 1
                answered.release()
        return counts

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(load) for _ in range(6)]
        for _ in range(60):
            assert answered.acquire(timeout=30)
        replace_one(pair)
        for _ in range(60):
            assert answered.acquire(timeout=30)
        stop.set()
        counts = [client.result() for client in clients]
    seen = {name: sum(count[name] for count in counts) for name in counts[0]}
    after = pair.metrics(**BEARER)

    def more(name):
        return sum(after[key] - before.get(key, 0) for key in after if key.startswith(name))

    # The request for these books has been accepted, and is not answered while they are read; that
    # for the books before has been answered since.
    accepted, lost = more("advdetect_requests_accepted_total"), more("advdetect_requests_lost")
    booked = more("advdetect_requests_total{")
    assert accepted == booked + lost
    answers = more('advdetect_requests_total{route="/v1/detect",status="200"}')
    # An answer may be booked and not have left when the worker is killed.
    assert seen["answered"] <= answers <= seen["answered"] + seen["reset"]
    assert 0 <= lost <= seen["reset"] <= 6
    assert more("advdetect_worker_restarts_total") == 1
    said = re.search(r"worker \d took (\d+) accepted", "".join(pair.lines[begun:]))
    assert lost == (int(said[1]) if said else 0)


@pytest.mark.slow
def test_workers_end_with_their_supervisor(small_guard_folder):
    with Started(small_guard_folder, "--workers", 2) as started:
        workers = started.workers()
        assert len(workers) == 2
        started.process.kill()
        started.process.wait(10)

        def gone():
            for worker in workers:
                try:
                    os.kill(worker, 0)
                except ProcessLookupError:
                    continue
                return False
            return True

        wait_until(gone)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{started.url}/healthz")


def test_a_bad_guard_is_one_line_for_all(small_guard_folder, tmp_path):
    folder = shutil.copytree(small_guard_folder, tmp_path / "small")
    (folder / "detector.safetensors").write_bytes(b"damaged")
    done = subprocess.run(
        [sys.executable, "-m", "advdetect", "serve", folder, "--workers", "2", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(rf"^error: {folder / 'detector.safetensors'}", done.stderr, re.M)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_workers_that_never_get_ready_are_given_up(small_guard_folder, tmp_path):
    """It tries again, ever more slowly, and then says so; the supervisor itself needs no torch."""
    (tmp_path / "torch.py").write_text("import os\nos._exit(7)\n")
    done = subprocess.run(
        [sys.executable, "-m", "advdetect", "serve", small_guard_folder]
        + ["--workers", "2", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}:."},
    )
    assert done.returncode == 1
    assert "error: no worker gets ready, after 5 attempts: the log says why" in done.stderr
    pauses = re.findall(
        r"worker 1 ended with 7 before it was ready; another one starts in ([\d.]+) s", done.stderr
    )
    assert pauses[:4] == ["0", "0.5", "1", "2"]


def test_a_reload_without_a_place_for_the_copy_is_refused(folder, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with Started(folder, "--workers", 2, "--token-file", token, TMPDIR=str(tmp_path)) as started:
        (copies,) = tmp_path.glob("*/guards")
        copies.rename(tmp_path / "away")
        refused = httpx.post(f"{started.url}/v1/reload", headers=BEARER, timeout=30)
        assert refused.status_code == 409
        started.wait_for("no place for a copy of the guard: No such file")
        (tmp_path / "away").rename(copies)
        for _ in range(4):  # either worker may be asked
            again = httpx.post(f"{started.url}/v1/reload", headers=BEARER, timeout=30)
            assert again.status_code == 200, again.text
        assert started.end() == 0
