"""What was needed once is not held for ever."""

import ctypes
import threading
from pathlib import Path

import pytest

from advdetect.service import memory
from advdetect.service.memory import Tidying, give_back


def resident_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library")
def test_free_memory_goes_back():
    blocks = [bytearray(100_000) for _ in range(2000)]  # too small to be mapped apart
    last = bytearray(100_000)  # which keeps the heap's end where it is
    del blocks
    before = resident_mib()
    give_back()
    assert before - resident_mib() > 100
    assert len(last) == 100_000


def test_now_and_then(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(memory, "give_back", done.set)
    never, at_once = Tidying(3600), Tidying(0)
    never.look()
    assert not done.wait(0.2)
    at_once.look()
    assert done.wait(10)
