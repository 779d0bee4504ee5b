"""What holds for workers of every kind, and what befalls those that are processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from advdetect.errors import InputError, ModelError
from advdetect.runs import InProcess, Shard, choose_executor
from advdetect.runs.working import Computed, Failure, Job
from tests.runs import shard_work as w

RARELY_RAY = pytest.param("ray", marks=pytest.mark.slow)
ANY_BUT_RARELY_RAY = pytest.mark.parametrize(
    "executor", ["here", "processes", RARELY_RAY], indirect=True
)
OTHERS_BUT_RARELY_RAY = pytest.mark.parametrize("others", ["processes", RARELY_RAY], indirect=True)


def shards(n):
    return [Shard(f"shard-{i}", i) for i in range(n)]


def gone(pid, seconds=10.0):
    """Whether a process ends in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            # One that has ended and is not waited for yet counts as gone.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_every_shard_comes_once_with_its_tensors_and_the_threads_of_the_job(executor):
    outcomes = dict(executor.run(shards(5), Job(w.nothing, (), w.square, 1)))
    assert {shard.name: int(o.tensors["square"]) for shard, o in outcomes.items()} == {
        f"shard-{i}": i**2 for i in range(5)
    }
    assert all(isinstance(o, Computed) and o.seconds >= 0 for o in outcomes.values())
    assert {int(o.tensors["threads"]) for o in outcomes.values()} == {1}


@ANY_BUT_RARELY_RAY
def test_a_worker_is_set_up_once(executor, tmp_path):
    assert len(list(executor.run(shards(6), Job(w.keep, (tmp_path,), w.own_process, 1)))) == 6
    tasks = list(tmp_path.glob("task-*"))
    workers = {path.read_text() for path in tasks}
    assert len(tasks) == 6
    assert {path.name for path in tmp_path.glob("set-up-*")} >= {f"set-up-{pid}" for pid in workers}
    assert len(list(tmp_path.glob("set-up-*"))) <= 2
    assert (workers == {str(os.getpid())}) == isinstance(executor, InProcess)


def test_a_shard_that_fails_is_tried_three_times_and_the_rest_goes_on(executor, tmp_path):
    outcomes = {
        s.name: o for s, o in executor.run(shards(4), Job(w.keep, (tmp_path,), w.fail_on_odd, 1))
    }
    assert {name: type(o) for name, o in outcomes.items()} == {
        "shard-0": Computed,
        "shard-1": Failure,
        "shard-2": Computed,
        "shard-3": Failure,
    }
    assert outcomes["shard-3"].reason == "ZeroDivisionError: cannot do 3"
    assert 'raise ZeroDivisionError(f"cannot do' in outcomes["shard-3"].details
    assert [len(list(tmp_path.glob(f"task-{i}-*"))) for i in range(4)] == [1, 3, 1, 3]


def test_a_mistake_of_the_users_surfaces_at_once(executor, tmp_path):
    with pytest.raises(ModelError, match="no gradient for"):
        list(executor.run(shards(30), Job(w.keep, (tmp_path,), w.mistake, 1)))
    assert len(list(tmp_path.glob("task-*"))) <= 2  # one a worker


@ANY_BUT_RARELY_RAY
def test_what_the_setup_refuses_is_said_as_it_is(executor):
    with pytest.raises(InputError, match="^no such guard$"):
        list(executor.run(shards(2), Job(w.refuse, ("no such guard",), w.square, 1)))


@ANY_BUT_RARELY_RAY
def test_nothing_to_do_starts_nothing(executor):
    assert list(executor.run([], Job(w.die, (), w.square, 1))) == []


@pytest.fixture(params=["processes", "ray"])
def others(request, one_thread, no_child_left):
    """Two workers that are processes of their own."""
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return choose_executor(2, "local" if request.param == "ray" else None)


def test_a_killed_worker_loses_nothing(others, tmp_path):
    outcomes = {
        s.name: o for s, o in others.run(shards(5), Job(w.keep, (tmp_path,), w.die_once, 1))
    }
    assert {name: int(o.tensors["task"]) for name, o in outcomes.items()} == {
        f"shard-{i}": i for i in range(5)
    }
    # Another took its place, unless the first to be left did it all.
    assert (tmp_path / "died").read_text() in {
        path.name.removeprefix("set-up-") for path in tmp_path.glob("set-up-*")
    }


@OTHERS_BUT_RARELY_RAY
def test_a_shard_that_kills_its_workers_is_given_up(others, tmp_path):
    outcomes = {
        s.name: o for s, o in others.run(shards(4), Job(w.keep, (tmp_path,), w.die_on_two, 1))
    }
    assert len(outcomes) == 4
    assert outcomes["shard-2"].reason.startswith("its worker died")
    assert sum(isinstance(o, Computed) for o in outcomes.values()) == 3


@OTHERS_BUT_RARELY_RAY
def test_a_setup_that_breaks_is_an_error(others):
    with pytest.raises(InputError, match=r"cannot be set up \(KeyError: 'lost'\)"):
        list(others.run(shards(2), Job(w.break_down, ("lost",), w.square, 1)))


@OTHERS_BUT_RARELY_RAY
def test_workers_that_die_at_once_are_not_started_for_ever(others):
    with pytest.raises(InputError, match="die while they start|cannot be set up"):
        list(others.run(shards(2), Job(w.die, (), w.square, 1)))


def test_what_cannot_be_pickled_is_refused(no_child_left):
    with pytest.raises(InputError, match=r"cannot be sent to other processes \(.*use one worker"):
        list(choose_executor(2).run(shards(2), Job(w.nothing, (), lambda state, task: {}, 1)))


def test_a_result_is_sent_without_the_memory_that_it_is_a_view_of(one_thread, no_child_left):
    ((_, outcome),) = choose_executor(2).run([Shard("one", 3)], Job(w.nothing, (), w.half, 1))
    assert torch.equal(outcome.tensors["row"], torch.arange(3000.0, 4000.0))
    assert torch.equal(outcome.tensors["column"], torch.arange(3.0, 1_000_000, 1000))
    assert outcome.tensors["row"].untyped_storage().nbytes() < 20_000


def test_an_iterator_that_is_closed_stops_its_workers(one_thread, no_child_left, tmp_path):
    outcomes = choose_executor(2).run(shards(9), Job(w.keep, (tmp_path,), w.own_process, 1))
    next(outcomes)
    workers = [int(path.name.removeprefix("set-up-")) for path in tmp_path.glob("set-up-*")]
    outcomes.close()
    assert workers
    assert all(gone(pid) for pid in workers)


# A shell that starts a command in the background has it ignore Ctrl-C: the script listens again.
SCRIPT = """
import signal
import sys
from pathlib import Path
from advdetect.runs import Shard, choose_executor
from advdetect.runs.working import Job
from tests.runs import shard_work as w

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = Job(w.keep, (Path(sys.argv[1]),), w.sleep, 1)
    try:
        list(choose_executor(2).run([Shard(str(i), i) for i in range(4)], job))
    except KeyboardInterrupt:
        print("interrupted once")
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_in_the_middle_of_a_shard(tmp_path, end):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, script, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["."] + sys.path)},
        start_new_session=True,  # a group of its own: the terminal interrupts a whole group
    )
    try:
        until = time.monotonic() + 60
        while len(list(tmp_path.glob("worker-*"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        workers = [int(path.name.removeprefix("worker-")) for path in tmp_path.glob("worker-*")]
        assert len(workers) == 2
        if end == signal.SIGINT:
            os.killpg(parent.pid, end)
        else:
            parent.kill()
        out, err = parent.communicate(timeout=20)
    finally:
        parent.kill()
    assert all(gone(pid) for pid in workers)
    assert (out, err) == (("interrupted once\n" if end == signal.SIGINT else ""), "")


def test_workers_can_be_had_outside_the_main_thread(one_thread, no_child_left):
    found = []
    thread = threading.Thread(
        target=lambda: found.extend(
            choose_executor(2).run(shards(2), Job(w.nothing, (), w.square, 1))
        )
    )
    thread.start()
    thread.join()
    assert len(found) == 2


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_refused(workers):
    with pytest.raises(InputError, match=f"expected at least 1 worker, got {workers}"):
        choose_executor(workers)


def test_one_worker_is_this_process():
    assert isinstance(choose_executor(), InProcess)
    assert isinstance(choose_executor(1), InProcess)


def test_says_how_to_install_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'^Ray is not installed: pip install "advdetect\[ray\]"$'):
        choose_executor(2, "auto")


def test_says_that_there_is_no_cluster(monkeypatch):
    ray = pytest.importorskip("ray")

    def refuse(**options):
        assert options["address"] == "auto"
        raise ConnectionError("Could not find any running Ray instance.\nPlease")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(
        InputError, match="no Ray cluster at 'auto': ConnectionError: Could .* inst"
    ):
        list(choose_executor(2, "auto").run(shards(1), Job(w.nothing, (), w.square, 1)))


def test_a_worker_needs_room_on_one_host(cluster):
    with pytest.raises(InputError, match="no host of the Ray cluster has 3 CPUs, which a worker"):
        list(choose_executor(2, "local").run(shards(1), Job(w.nothing, (), w.square, 3)))
    with pytest.raises(InputError, match="no host of the Ray cluster has 1 CPUs and a GPU"):
        list(choose_executor(2, "local", gpu=True).run(shards(1), Job(w.nothing, (), w.square, 1)))


def test_a_host_with_other_versions_is_refused(cluster, monkeypatch):
    monkeypatch.setattr("advdetect.runs.ray_cluster.versions", lambda: {"torch": "0.1"})
    with pytest.raises(InputError, match="has torch 2.*, this one 0.1: results would differ"):
        list(choose_executor(2, "local").run(shards(1), Job(w.nothing, (), w.square, 1)))
