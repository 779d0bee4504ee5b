"""What an attacker who knows the guard sees of it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Look:
    """One pass of ``n`` images through a guard: what steers an attack, and the truth.

    The first four carry gradients back to the images; the others are the guard's own answers to
    the same images, and only these decide whether an attack has succeeded.

    Attributes:
        logits: ``(n, classes)`` of the classifier.
        score: ``(n,)`` a smooth stand-in for the detector's score.
        rows: ``(n, d)`` feature rows, in units of what is usual among clean inputs.
        bits: By layer, ``(n, units)`` smooth stand-ins for the activation bits.
        label: ``(n,)`` predicted class.
        p_value: ``(n,)`` in (0, 1]; flagged where it is at most a false-alarm rate.
        true_score: ``(n,)`` the detector's score; higher is more adversarial.
    """

    logits: Tensor
    score: Tensor
    rows: Tensor
    bits: Mapping[str, Tensor]
    label: Tensor
    p_value: Tensor
    true_score: Tensor


@dataclass(frozen=True, eq=False)
class Answers:
    """What anyone who may ask the guard learns of ``n`` images: no gradients.

    Attributes:
        logits: ``(n, classes)``.
        label: ``(n,)`` predicted class.
        p_value: ``(n,)`` in (0, 1].
        true_score: ``(n,)``.
    """

    logits: Tensor
    label: Tensor
    p_value: Tensor
    true_score: Tensor


class Target(Protocol):
    """A guard as attacks see it; ``advdetect.guard`` makes one."""

    @property
    def false_alarm_rate(self) -> float:
        """Inputs are flagged where their p-value is at most this."""

    def frozen(self) -> AbstractContextManager[None]:
        """Evaluation mode, and parameters without gradients, inside."""

    def look(self, images: Tensor, *, sharpness: float) -> Look:
        """See everything; higher ``sharpness`` is nearer to the truth and flatter."""

    def ask(self, images: Tensor) -> Answers:
        """Get the guard's answers alone."""
