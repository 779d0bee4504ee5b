"""Where the page's work is done: one thread, and the inspector of the guard that serves."""

import time
from collections.abc import Callable
from typing import TypeVar

from advdetect.service.inspecting.aside import Aside
from advdetect.service.inspecting.inspector import Inspector
from advdetect.service.served import Served

Value = TypeVar("Value")

LOOKS = 8


class Workshop:
    """Asks an inspector aside; a reload brings another. At most one attack is under way."""

    def __init__(self) -> None:
        self._aside = Aside(look=LOOKS, attack=1)
        self._inspector: Inspector | None = None

    async def ask(
        self, kind: str, served: Served, question: Callable[[Inspector], Value], until: float
    ) -> Value:
        """Ask the inspector of a guard.

        Args:
            kind: ``look`` or ``attack``.
            served: The guard.
            question: What to ask.
            until: ``time.monotonic()`` at which the request's time is up.

        Raises:
            Refused: 503 where too many ask, or the time is up; or what the question raises.
        """
        return await self._aside.run(kind, lambda: question(self._of(served)), until)

    def stop(self) -> None:
        """Finish what was asked, and end."""
        self._inspector = None
        self._aside.stop()

    def _of(self, served: Served) -> Inspector:
        """Runs in the thread, so that only one is made."""
        inspector = self._inspector
        if inspector is None or inspector.of is not served:
            inspector = self._inspector = Inspector(served)
            self._aside.continue_with(lambda: self._look_on(inspector))
        return inspector

    def _look_on(self, inspector: Inspector) -> bool:
        if self._inspector is not inspector:
            return False
        began = time.perf_counter()
        more = inspector.look_on()
        # Traffic comes first: half of the time is left to it.
        time.sleep(time.perf_counter() - began)
        return more
