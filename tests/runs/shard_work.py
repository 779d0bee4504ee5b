"""Setups and work that workers of other processes import."""

import os
import signal
import time
from pathlib import Path

import torch

from advdetect.errors import InputError, ModelError


def nothing():
    return None


def refuse(reason):
    raise InputError(reason)


def break_down(reason):
    raise KeyError(reason)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def keep(folder):
    """The state is a folder, where work leaves notes."""
    (Path(folder) / f"set-up-{os.getpid()}").touch()
    return Path(folder)


def square(state, task):
    return {"square": torch.tensor([task**2]), "threads": torch.tensor(torch.get_num_threads())}


def own_process(state, task):
    (state / f"task-{task}-{time.perf_counter_ns()}").write_text(str(os.getpid()))
    time.sleep(0.05)
    return {"task": torch.tensor(task)}


def fail_on_odd(state, task):
    (state / f"task-{task}-{time.perf_counter_ns()}").touch()
    if task % 2:
        raise ZeroDivisionError(f"cannot do {task}\nnor more")
    return {"task": torch.tensor(task)}


def die_once(state, task):
    """The first worker that gets task 2 is killed in the middle of it."""
    if task == 2 and not (state / "died").exists():
        (state / "died").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return {"task": torch.tensor(task)}


def die_on_two(state, task):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"task": torch.tensor(task)}


def mistake(state, task):
    (state / f"task-{task}-{time.perf_counter_ns()}").touch()
    raise ModelError(f"no gradient for {task}")


def sleep(state, task):
    (state / f"worker-{os.getpid()}").touch()
    time.sleep(60)
    return {}


def half(state, task):
    """A view of much memory, and a column of a matrix."""
    rows = torch.arange(1_000_000.0).reshape(1000, 1000)
    return {"row": rows[task], "column": rows[:, task]}
