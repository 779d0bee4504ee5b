"""Judge pictures with a guard, as they come."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from advdetect.data import read_inputs
from advdetect.guard import Guard

BATCH = 64


@dataclass(frozen=True)
class Detection:
    """What was found out about one input: a verdict, or why there is none."""

    name: str
    label: int | None = None
    class_name: str | None = None
    confidence: float | None = None
    score: float | None = None
    p_value: float | None = None
    flagged: bool | None = None
    evidence: dict[str, float] | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: a verdict without ``error``, or a name with it."""
        kept = ("name", "error") if self.error else tuple(f for f in vars(self) if f != "error")
        return {key: getattr(self, key) for key in kept}


def detect(
    guard: Guard, paths: Sequence[str], *, resize: bool = False, lines: Iterable[str] | None = None
) -> Iterator[Detection]:
    """Judge pictures, folders of them, arrays, or a list of paths; a broken input costs itself.

    Args:
        guard: The guard.
        paths: Pictures, folders, ``.npy`` or ``.npz`` files, or ``-`` for ``lines``.
        resize: Resize pictures to the guard's size instead of refusing them.
        lines: Paths, one a line, that ``-`` stands for; standard input by default.

    Raises:
        FileError: a path is missing, or a folder empty; before anything is judged.
    """
    device = next((p.device for p in guard.model.parameters()), torch.device("cpu"))
    classes = guard.about.get("classes")
    inputs = iter(read_inputs(paths, shape=guard.input_shape, resize=resize, lines=lines))
    while group := list(islice(inputs, BATCH)):
        images = [found.image for found in group if found.image is not None]
        verdicts: Iterator[dict[str, Any]] = iter(())
        if images:
            verdicts = _one_by_one(guard, torch.stack(images).to(device), classes)
        for found in group:
            if found.image is None:
                yield Detection(found.name, error=found.error)
            else:
                yield Detection(found.name, **next(verdicts))


def _one_by_one(
    guard: Guard, images: torch.Tensor, classes: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    verdicts = guard(images)
    for i in range(len(verdicts)):
        label = int(verdicts.label[i])
        yield {
            "label": label,
            "class_name": classes[label] if classes and label < len(classes) else None,
            "confidence": float(verdicts.confidence[i]),
            "score": float(verdicts.score[i]),
            "p_value": float(verdicts.p_value[i]),
            "flagged": bool(verdicts.flagged[i]),
            "evidence": {layer: float(part[i]) for layer, part in verdicts.evidence.items()},
        }
