"""The kinds of workers, and whether any are left behind."""

import multiprocessing

import pytest
import torch

from advdetect.runs import InProcess, choose_executor


@pytest.fixture
def one_thread():
    """One thread, so that a machine of two cores has room for two workers of a cluster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_child_left():
    """Afterwards, no process that was started is alive."""
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture(params=["here", "processes", "ray"])
def executor(request, one_thread, no_child_left):
    """An executor of each kind, of two workers where it has several."""
    if request.param == "here":
        return InProcess()
    if request.param == "processes":
        return choose_executor(2)
    request.getfixturevalue("cluster")
    return choose_executor(2, "local")


@pytest.fixture(scope="module")
def cluster(ray):
    """A Ray cluster of two cores on this machine, which executors find begun."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()
