"""The guard that serves, and how it judges a batch."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from advdetect.guard import Guard
from advdetect.workflows.guards import DESCRIPTION, load_guard_once

WARM = 1.5  # seconds


@dataclass(frozen=True)
class Judged:
    """What one input was found to be, and when.

    Attributes:
        verdict: Plain JSON: label, class_name, confidence, score, p_value, flagged, evidence.
        started: ``time.perf_counter()`` when its batch began.
        forward: Seconds of the batch's forward pass.
        detect: Seconds of what the guard did besides.
    """

    verdict: dict[str, Any]
    started: float
    forward: float
    detect: float


@dataclass(frozen=True, eq=False)
class Served:
    """A guard in service; a reload makes another.

    Attributes:
        guard: The guard.
        name: What clients call it.
        fingerprint: Sha256 that ``guard.json`` is sealed with: of the guard and its model.
        layers: What evidence is given for.
        loaded: ``time.time()`` when it came into service.
        alone: Held by the one pass that runs.
    """

    guard: Guard
    name: str
    fingerprint: str
    layers: tuple[str, ...]
    loaded: float = field(default_factory=time.time)
    # A recording hooks into the model: two passes at a time would record each other.
    alone: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, name: str, *, copy: Path | None = None) -> Self:
        """Read a guard, verify it, and have it answer once.

        Args:
            name: A guard's folder, or a shipped model's name.
            copy: Where the guard of that name is read from instead.

        Raises:
            AdvDetectError: there is none, or it is damaged, or cannot answer.
        """
        guard, fingerprint = load_guard_once(name if copy is None else str(copy))
        answer = guard(torch.full((1, *guard.input_shape), 0.5, device=_device(guard)))
        return cls(
            guard,
            _name(name),
            fingerprint,
            tuple(answer.evidence),
        )

    def warm(self, largest: int) -> None:
        """Judge a batch of each size up to ``largest``, for ``WARM`` seconds at most.

        A size met for the first time costs the compilation of its kernels, and memory for them:
        better before anyone waits.
        """
        guard, until = self.guard, time.perf_counter() + WARM
        pixels = torch.full((largest, *guard.input_shape), 0.5)
        for size in range(1, largest + 1):
            self.judge(list(pixels[:size]))
            if time.perf_counter() > until:
                return

    def judge(self, images: Sequence[Tensor]) -> list[Judged]:
        """Judge ``(c, h, w)`` images in one pass; each by itself, but for rounding."""
        # Bookkeeping for gradients is a fifth of a small batch's price.
        with self.alone, torch.inference_mode():
            return self._judge(images)

    def _judge(self, images: Sequence[Tensor]) -> list[Judged]:
        guard = self.guard
        started = time.perf_counter()
        pixels = torch.stack(list(images)).to(_device(guard))
        observation = guard.extractor.observe(guard.model, pixels)
        seen = time.perf_counter()
        verdicts = guard.judge(observation)
        classes = guard.about.get("classes") or ()
        labels = verdicts.label.tolist()
        columns: dict[str, list[Any]] = {
            "label": labels,
            "class_name": [classes[c] if c < len(classes) else None for c in labels],
            "confidence": verdicts.confidence.tolist(),
            "score": verdicts.score.tolist(),
            "p_value": verdicts.p_value.tolist(),
            "flagged": verdicts.flagged.tolist(),
        }
        evidence = {layer: part.tolist() for layer, part in verdicts.evidence.items()}
        rows = [
            {name: column[i] for name, column in columns.items()}
            | {"evidence": {layer: part[i] for layer, part in evidence.items()}}
            for i in range(len(labels))
        ]
        done = time.perf_counter()
        return [Judged(row, started, seen - started, done - seen) for row in rows]


def _name(name: str) -> str:
    """A folder's own name, however it is reached; or a shipped model's."""
    return Path(name).resolve().name if (Path(name) / DESCRIPTION).is_file() else Path(name).name


def _device(guard: Guard) -> torch.device:
    return next((p.device for p in guard.model.parameters()), torch.device("cpu"))
