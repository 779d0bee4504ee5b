"""Several networks that answer as one."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from advdetect.errors import ModelError


class Ensemble(nn.Module):
    """Networks whose class probabilities are averaged.

    Its logits are the logarithms of the averaged probabilities, so that whatever takes a model
    takes an ensemble. Inference costs the sum of its members.

    Args:
        members: Networks with the same inputs and the same classes, at least one.

    Attributes:
        members: The same, a ``ModuleList``: layers of the second are recorded as ``members.1...``.

    Raises:
        ModelError: there are no members.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not self.members:
            raise ModelError("an ensemble needs at least one member, got none")

    def __len__(self) -> int:
        return len(self.members)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(n, classes)`` log probabilities of ``(n, c, h, w)`` pixels in [0, 1]."""
        logits = self.member_logits(images)
        seen = _SEEN.get()
        if seen is not None:
            seen.append(logits)
        return average(logits)

    def member_logits(self, images: Tensor) -> Tensor:
        """Return ``(members, n, classes)`` logits.

        Raises:
            ModelError: members differ in their number of classes.
        """
        logits = [member(images) for member in self.members]
        if len({one.shape for one in logits}) > 1:
            shapes = ", ".join(str(tuple(one.shape[1:])) for one in logits)
            raise ModelError(f"the members of an ensemble differ in their logits: {shapes}")
        return torch.stack(logits)


_SEEN: ContextVar[list[Tensor] | None] = ContextVar("seen", default=None)


@contextmanager
def seeing_members() -> Iterator[list[Tensor]]:
    """Collect the ``(members, n, classes)`` logits of every ensemble's pass, in this thread.

    For whoever holds a function around an ensemble and not the ensemble itself.
    """
    seen: list[Tensor] = []
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


def average(logits: Tensor) -> Tensor:
    """Return the ``(n, classes)`` log of the mean of the members' probabilities.

    Args:
        logits: ``(members, n, classes)``.
    """
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


def member_of(layer: str) -> int | None:
    """Which member of an ensemble a recorded layer belongs to; None for any other layer."""
    first, _, rest = layer.partition(".")
    number = rest.partition(".")[0]
    return int(number) if first == "members" and number.isdigit() else None
