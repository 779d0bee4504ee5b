"""Together or alone, the same verdict; a bounded queue; nothing accepted goes unanswered."""

import threading
import time
from concurrent.futures import CancelledError

import pytest
import torch

from advdetect.service import served as served_module
from advdetect.service.batching import Batcher
from advdetect.service.refusals import Refused
from advdetect.service.served import Judged, Served


class Slow:
    """A guard that waits for a word before it judges, and notes its batches."""

    def __init__(self, error=None):
        self.go = threading.Event()
        self.begun = threading.Event()
        self.batches = []
        self.error = error

    def judge(self, images):
        self.begun.set()
        assert self.go.wait(10)
        self.batches.append([image.item() for image in images])
        if self.error is not None and any(image.item() == self.error for image in images):
            raise RuntimeError("cannot be judged")
        return [Judged({"label": image.item()}, time.perf_counter(), 0.0, 0.0) for image in images]


@pytest.fixture
def batcher():
    """``batcher(**options)``: ended after the test."""
    made = []

    def make(max_batch=4, max_delay=0.0, max_queue=8, observe=lambda served, judged: None):
        made.append(
            Batcher(max_batch=max_batch, max_delay=max_delay, max_queue=max_queue, observe=observe)
        )
        return made[-1]

    yield make
    for one in made:
        one.stop()


def images(*values):
    return [torch.tensor(float(value)) for value in values]


def labels(promise):
    return [judged.verdict["label"] for judged in promise.result(10)]


def test_a_verdict_is_the_same_in_any_company(small_guard, sent, batcher):
    served = Served(small_guard, "small", "0", tuple())
    alone = [served.judge([image])[0].verdict for image in sent.images]
    sizes = []
    some = batcher(7, 0.2, 64, lambda served, judged: sizes.append(len(judged)))
    promises = [some.submit(served, [image]) for image in sent.images]
    promises.append(some.submit(served, list(sent.images.flip(0))))
    together = [promise.result(10)[0].verdict for promise in promises[:10]]
    reversed_order = [judged.verdict for judged in promises[10].result(10)][::-1]
    assert sizes == [7, 7, 6]
    for one, other, third in zip(alone, together, reversed_order, strict=True):
        for name in ("label", "class_name", "p_value", "flagged"):
            assert one[name] == other[name] == third[name]
        for name in ("confidence", "score"):
            assert one[name] == pytest.approx(other[name], abs=1e-4)
            assert one[name] == pytest.approx(third[name], abs=1e-4)
        for layer, part in one["evidence"].items():
            assert part == pytest.approx(other["evidence"][layer], abs=1e-4)


def test_requests_that_wait_are_judged_together_in_order(batcher):
    guard, some = Slow(), batcher()
    first = some.submit(guard, images(0))
    assert guard.begun.wait(10)
    others = [some.submit(guard, images(1, 2, 3)), some.submit(guard, images(4, 5))]
    guard.go.set()
    assert [labels(promise) for promise in (first, *others)] == [[0], [1, 2, 3], [4, 5]]
    assert guard.batches == [[0], [1, 2, 3, 4], [5]]


def test_a_lone_input_waits_for_company_and_no_longer(batcher):
    guard, some = Slow(), batcher(max_delay=0.8)
    guard.go.set()
    started = time.perf_counter()
    promises = [some.submit(guard, images(i)) for i in range(2)]
    assert [labels(promise) for promise in promises] == [[0], [1]]
    assert 0.7 < time.perf_counter() - started < 5
    assert guard.batches == [[0, 1]]
    started = time.perf_counter()
    assert labels(some.submit(guard, images(1, 2, 3, 4))) == [1, 2, 3, 4]  # full: it need not wait
    assert time.perf_counter() - started < 0.7


def test_whoever_was_just_answered_can_join_those_who_waited(batcher):
    guard, some = Slow(), batcher(max_delay=0.8)
    first = some.submit(guard, images(0))
    assert guard.begun.wait(10)
    second = some.submit(guard, images(1))
    time.sleep(1)  # longer than any delay, while the guard is busy
    guard.go.set()
    assert labels(first) == [0]
    third = some.submit(guard, images(2))
    assert (labels(second), labels(third)) == ([1], [2])
    assert guard.batches == [[0], [1, 2]]


def test_a_full_queue_refuses_at_once(batcher):
    guard, some = Slow(), batcher(max_queue=3)
    first = some.submit(guard, images(0))
    assert guard.begun.wait(10)
    second = some.submit(guard, images(1, 2))
    with pytest.raises(Refused, match="too many inputs wait already: ask again later") as caught:
        some.submit(guard, images(3, 4))
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
    assert some.depth == 2
    third = some.submit(guard, images(5))  # there is room for one
    guard.go.set()
    assert [labels(promise) for promise in (first, second, third)] == [[0], [1, 2], [5]]


def test_what_was_given_up_is_not_judged(batcher):
    guard, some = Slow(), batcher()
    first = some.submit(guard, images(0))
    assert guard.begun.wait(10)
    given_up, last = some.submit(guard, images(1, 2)), some.submit(guard, images(3))
    assert given_up.cancel()
    guard.go.set()
    assert (labels(first), labels(last)) == ([0], [3])
    assert guard.batches == [[0], [3]]
    with pytest.raises(CancelledError):
        given_up.result(0)


def test_stopping_answers_what_was_accepted(batcher):
    guard, some = Slow(), batcher()
    promises = [some.submit(guard, images(i)) for i in range(6)]
    assert guard.begun.wait(10)
    stopping = threading.Thread(target=some.stop)
    stopping.start()
    while not some._stopping:
        time.sleep(0.001)
    with pytest.raises(Refused, match="the service stops: ask another, or later"):
        some.submit(guard, images(7))
    guard.go.set()
    stopping.join(10)
    assert [labels(promise) for promise in promises] == [[i] for i in range(6)]


def test_each_is_judged_by_the_guard_it_came_for(batcher):
    old, new, some = Slow(), Slow(), batcher()
    new.go.set()
    promises = [some.submit(old, images(0))]
    assert old.begun.wait(10)
    promises += [
        some.submit(old, images(1)),
        some.submit(new, images(2)),
        some.submit(new, images(3)),
    ]
    old.go.set()
    assert [labels(promise) for promise in promises] == [[0], [1], [2], [3]]
    assert (old.batches, new.batches) == ([[0], [1]], [[2, 3]])


def test_an_input_that_breaks_the_guard_costs_its_request_alone(batcher, caplog):
    guard, some = Slow(error=2), batcher()
    first = some.submit(guard, images(0))
    assert guard.begun.wait(10)
    good, bad, last = (some.submit(guard, images(*values)) for values in [(1,), (2, 3), (4,)])
    guard.go.set()
    assert (labels(first), labels(good), labels(last)) == ([0], [1], [4])
    with pytest.raises(RuntimeError, match="cannot be judged"):
        bad.result(10)
    assert "an input could not be judged" in caplog.text


def test_books_that_fail_cost_no_verdict(batcher, caplog):
    def fail(served, judged):
        raise OSError("disk full")

    guard, some = Slow(), batcher(observe=fail)
    guard.go.set()
    assert labels(some.submit(guard, images(1))) == [1]
    assert "a batch could not be entered into the books" in caplog.text


def test_every_size_of_batch_is_met_before_anyone_waits(small_guard_folder, monkeypatch):
    one, sizes = Served.load(str(small_guard_folder)), []
    real = Served.judge

    def judge(self, images):
        sizes.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Served, "judge", judge)
    one.warm(5)
    assert sizes == [1, 2, 3, 4, 5]
    sizes.clear()
    monkeypatch.setattr(served_module, "WARM", 0.0)
    one.warm(5)  # a large model: not for longer than that
    assert sizes == [1]
