"""How workflows say how far they are, whoever watches."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol


class Track(Protocol):
    """Wraps work to show progress: a bar on a terminal, nothing elsewhere."""

    def __call__(self, items: Sequence[Any], description: str) -> Iterable[Any]: ...


Tell = Callable[[str], None]


def untracked(items: Sequence[Any], description: str) -> Iterable[Any]:
    """Show no progress."""
    return items
