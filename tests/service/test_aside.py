"""One thread aside: in turn, with little room, and an end."""

import asyncio
import threading
import time

import pytest

from advdetect.service.inspecting.aside import Aside
from advdetect.service.refusals import Refused

LATER = 20.0


def run(check):
    asyncio.run(check())


def soon():
    return time.monotonic() + LATER


def test_work_is_done_one_after_the_other():
    running, most = [], []

    def work(i):
        running.append(i)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(i)
        return i

    async def check():
        aside = Aside(look=5)
        asked = [aside.run("look", lambda i=i: work(i), soon()) for i in range(5)]
        assert await asyncio.gather(*asked) == [0, 1, 2, 3, 4]
        assert set(most) == {1}
        aside.stop()

    run(check)


def test_each_kind_has_its_own_room():
    async def check():
        aside = Aside(look=1, attack=1)
        go = threading.Event()
        first = asyncio.create_task(aside.run("attack", lambda: go.wait(LATER), soon()))
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="others ask for the same just now"):
            await aside.run("attack", lambda: None, soon())
        look = asyncio.create_task(aside.run("look", lambda: "seen", soon()))
        await asyncio.sleep(0)
        go.set()
        assert await first
        assert await look == "seen"
        assert await aside.run("attack", lambda: "room again", soon()) == "room again"
        aside.stop()

    run(check)


def test_what_fails_leaves_room_and_time_runs_out():
    async def check():
        aside = Aside(look=1)
        with pytest.raises(ZeroDivisionError):
            await aside.run("look", lambda: 1 / 0, soon())
        go = threading.Event()
        with pytest.raises(Refused, match="this takes longer than a request may"):
            await aside.run("look", lambda: go.wait(LATER), time.monotonic() + 0.05)
        with pytest.raises(Refused, match="others ask"):  # it still runs, and takes its room
            await aside.run("look", lambda: None, soon())
        go.set()
        await asyncio.to_thread(aside.stop)
        with pytest.raises(Refused, match="the service stops"):
            await aside.run("look", lambda: None, soon())

    run(check)


def test_long_work_lets_others_in_between_and_ends_when_told():
    async def check():
        aside = Aside(look=1)
        count, seen = [], threading.Event()

        def more():
            count.append(1)
            seen.set()
            return True

        aside.continue_with(more)
        assert await asyncio.to_thread(seen.wait, LATER)
        assert await aside.run("look", lambda: "in between", soon()) == "in between"
        await asyncio.to_thread(aside.stop)
        at_the_end = len(count)
        await asyncio.sleep(0.05)
        assert len(count) == at_the_end

    run(check)


def test_long_work_that_is_done_is_not_called_again():
    async def check():
        aside = Aside(look=1)
        left = [True, True, False]
        aside.continue_with(lambda: left.pop(0))
        while left:
            await asyncio.sleep(0.01)
        assert await aside.run("look", lambda: len(left), soon()) == 0
        aside.stop()

    run(check)
