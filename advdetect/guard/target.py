"""A guard as the attacks that know it see it."""

from contextlib import AbstractContextManager
from functools import cached_property
from typing import final

from torch import Tensor

from advdetect.attacks.freezing import frozen
from advdetect.attacks.knowing.target import Answers, Look
from advdetect.features.base import Observation
from advdetect.guard.guard import Guard


@final
class GuardTarget:
    """Shows an attacker everything: gradients, features, bits, and the true verdict.

    Args:
        guard: The guard attacked.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    @property
    def false_alarm_rate(self) -> float:
        return self.guard.false_alarm_rate

    def frozen(self) -> AbstractContextManager[None]:
        """Evaluation mode, and parameters without gradients, inside."""
        return frozen(self.guard.model)

    def look(self, images: Tensor, *, sharpness: float) -> Look:
        """One forward pass for what steers an attack and for the truth alike.

        Where the guard asks for the gradient the truth takes passes of its own: what steers has
        been through smooth slopes.
        """
        observation = self.guard.extractor.observe(self.guard.model, images, sharpness=sharpness)
        rows = self.guard.extractor.rows(observation)
        score = self.guard.soft_score_of(rows, observation.predicted, sharpness)
        asked = observation.alignment is not None
        truth = self.ask(images.detach()) if asked else self._answers(observation.truth())
        centre, spread = self._usual
        return Look(
            observation.logits,
            score,
            (rows - centre.to(rows)) / spread.to(rows),
            observation.bits,
            truth.label,
            truth.p_value,
            truth.true_score,
        )

    def ask(self, images: Tensor) -> Answers:
        """What the guard says, without gradients."""
        return self._answers(self.guard.extractor.observe(self.guard.model, images))

    def _answers(self, observation: Observation) -> Answers:
        verdicts = self.guard.judge(observation)
        return Answers(observation.logits, verdicts.label, verdicts.p_value, verdicts.score)

    @cached_property
    def _usual(self) -> tuple[Tensor, Tensor]:
        rows = self.guard.held_out.rows
        return rows.mean(0), self.guard.spread
