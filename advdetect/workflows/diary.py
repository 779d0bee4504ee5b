"""What a training leaves in writing as it goes."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from advdetect import storage
from advdetect.ensembles import Step, processes

HISTORY = "history.jsonl"

Watch = Callable[[Step], None]


@contextmanager
def diary(folder: Path, tensorboard: bool) -> Iterator[Watch]:
    """Write an epoch's means as a line of JSON, and steps for TensorBoard where it is there.

    Args:
        folder: Of the training; ``HISTORY`` and ``tensorboard/`` go there.
        tensorboard: Write such logs, where the package is installed.

    Yields:
        What to call after every step. Of several processes the first alone writes.
    """
    if not processes.is_first():
        yield lambda step: None
        return
    writer = _tensorboard(folder / "tensorboard") if tensorboard else None
    lines = folder / HISTORY
    steps: list[Step] = []

    def log(step: Step) -> None:
        if step.step == 1:
            steps.clear()
        steps.append(step)
        if writer is not None and (step.step % 20 == 0 or step.step == step.steps):
            at = (step.epoch - 1) * step.steps + step.step
            for name, values in _figures(step).items():
                for member, value in enumerate(values):
                    writer.add_scalar(f"{name}/member-{member}", value, at)
        if step.step == step.steps:
            known = lines.read_text().splitlines() if lines.exists() else []
            mean = {
                name: [sum(column) / len(steps) for column in zip(*rows, strict=True)]
                for name in _figures(step)
                for rows in [[_figures(one)[name] for one in steps]]
            }
            # An epoch that is done again after an interruption replaces its line.
            kept = [line for line in known if json.loads(line)["epoch"] < step.epoch]
            text = "\n".join([*kept, json.dumps({"epoch": step.epoch} | mean)]) + "\n"
            storage.write_bytes(lines, text.encode())

    try:
        yield log
    finally:
        if writer is not None:
            writer.close()


def _figures(step: Step) -> dict[str, tuple[float, ...]]:
    return {"loss": step.losses, "accuracy": step.accuracies, "penalty": step.penalties}


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
