"""Inputs as a guard sees them: feature rows, predictions, verdicts."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdetect.features.extractor import BATCH
from advdetect.guard import Guard
from advdetect.workflows.progress import Track

Values = NDArray[np.float64]
Classes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Observed:
    """Feature rows, predicted classes and the guard's own verdicts of ``n`` inputs."""

    rows: Values
    predicted: Classes
    score: Values
    p_value: Values
    flagged: NDArray[np.bool_]

    def __getitem__(self, keep: NDArray[np.bool_]) -> "Observed":
        return Observed(
            self.rows[keep],
            self.predicted[keep],
            self.score[keep],
            self.p_value[keep],
            self.flagged[keep],
        )


def observe(guard: Guard, images: Tensor, track: Track, text: str) -> Observed:
    """Feature rows and verdicts of many images."""
    device = next((p.device for p in guard.model.parameters()), torch.device("cpu"))
    rows: list[Values] = []
    verdicts: list[tuple[Tensor, ...]] = []
    for batch in track(images.split(BATCH), text):
        observation = guard.extractor.observe(guard.model, batch.to(device))
        rows.append(guard.extractor.rows(observation).double().cpu().numpy())
        v = guard.judge(observation)
        verdicts.append((v.label.cpu(), v.score.cpu(), v.p_value.cpu(), v.flagged.cpu()))
    label, score, p_value, flagged = (
        torch.cat(parts).numpy() for parts in zip(*verdicts, strict=True)
    )
    return Observed(np.concatenate(rows), label, score, p_value, flagged)
