"""The bare model behind the same server: bare_server.py MODEL, where advdetect serve has a guard.

Same routes, same batches, same books; it skips the detector, and says of nothing that it was
flagged.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor

from advdetect.service.listening import address_of, bind
from advdetect.service.logs import start_log
from advdetect.service.running import run
from advdetect.service.served import Judged, Served
from advdetect.service.settings import Settings


class Bare(Served):
    """A guard's model without the guard."""

    def _judge(self, images: Sequence[Tensor]) -> list[Judged]:
        started = time.perf_counter()
        with torch.no_grad():
            logits = self.guard.model(torch.stack(list(images)))
        seen = time.perf_counter()
        confidence, label = logits.softmax(1).max(1)
        classes = self.guard.about["classes"]
        rows = [
            {
                "label": c,
                "class_name": classes[c],
                "confidence": p,
                "score": 0.0,
                "p_value": 1.0,
                "flagged": False,
                "evidence": {},
            }
            for c, p in zip(label.tolist(), confidence.tolist(), strict=True)
        ]
        done = time.perf_counter()
        return [Judged(row, started, seen - started, done - seen) for row in rows]


def main(name: str, threads: str) -> None:
    """Serve until a signal."""
    torch.set_num_threads(int(threads))
    start_log("text", access=True)
    settings = Settings(port=0)
    listening = bind(settings)
    served = Served.load(name)
    bare = Bare(**{field.name: getattr(served, field.name) for field in fields(served)})
    print(f"serving {bare.name} on {address_of(listening)}", file=sys.stderr, flush=True)
    asyncio.run(run(bare, settings, name, listening))


if __name__ == "__main__":
    main(*sys.argv[1:])
