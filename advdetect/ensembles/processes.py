"""Several processes that train together, as ``torchrun`` starts them; one process alone, too."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if _together() else 0


def is_first() -> bool:
    """Whether this process writes files; known before the processes have joined."""
    return int(os.environ.get("RANK", 0)) == 0


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _together() else 1


@contextmanager
def together() -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, if it did, and yield this one's device."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", local % torch.cuda.device_count()) if gpu else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or _together():
        yield device
        return
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def gathered(part: Tensor) -> Tensor:
    """Join the rows of all processes in order; a gradient finds its way back to each of them."""
    if count() == 1:
        return part
    return _Gathered.apply(part.contiguous())


class _Gathered(torch.autograd.Function):
    """All processes' rows; what is learned of one's own rows is summed over all processes."""

    @staticmethod
    def forward(_context: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(count())]
        dist.all_gather(parts, part)
        return torch.cat(parts)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return total(gradient.contiguous()).chunk(count())[rank()]


def total(values: Tensor) -> Tensor:
    """Sum over all processes, without gradient."""
    values = values.detach().clone()
    if count() > 1:
        dist.all_reduce(values)
    return values


def average_gradients(network: nn.Module) -> None:
    """Replace each gradient by its mean over all processes."""
    if count() == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, (flat / count()).split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


def wait() -> None:
    """Wait until all processes are here."""
    if count() > 1:
        dist.barrier()


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
