"""What an attack on a guard must do, and what it keeps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import torch
from torch import Tensor

from advdetect.attacks.base import Norm
from advdetect.attacks.knowing.target import Answers, Look, Target

# Beyond this p-value an image is more usual than half of the clean ones: nothing is left to gain.
ENOUGH = 0.5


@dataclass(eq=False)
class Best:
    """The best that was found for each of ``n`` images, judged by the guard itself.

    Attributes:
        images: ``(n, c, h, w)``; the clean image where nothing has fooled the classifier.
        p_value: ``(n,)`` of an image that fools the classifier, -1 where none does.
        score: ``(n,)`` the guard's score of it, infinite where none does.
        forwards: ``(n,)`` times that the guard has been asked about the image.
        backwards: ``(n,)`` gradients taken.
    """

    images: Tensor
    p_value: Tensor
    score: Tensor
    forwards: Tensor
    backwards: Tensor

    @classmethod
    def none(cls, images: Tensor) -> "Best":
        """Nothing found yet."""
        n = len(images)
        nothing = torch.full((n,), -1.0, dtype=torch.float64, device=images.device)
        passes = torch.zeros(n, dtype=torch.int64, device=images.device)
        score = torch.full_like(nothing, torch.inf)
        return cls(images.clone(), nothing, score, passes, passes.clone())

    def copy(self) -> "Best":
        """The state as it is now."""
        return Best(*(getattr(self, field.name).clone() for field in fields(self)))

    @property
    def open(self) -> Tensor:
        """Row numbers of the images that more could be found for."""
        return (self.p_value <= ENOUGH).nonzero().squeeze(1)

    def keep(self, rows: Tensor, images: Tensor, labels: Tensor, said: Look | Answers) -> None:
        """Take up what fools the classifier and looks more usual than what was found before.

        Args:
            rows: ``(m,)`` which images were asked about.
            images: ``(m, c, h, w)`` what was asked.
            labels: ``(m,)`` their true classes.
            said: What the guard said.
        """
        self.forwards[rows] += 1
        p_value, score = said.p_value.double(), said.true_score.double()
        before = self.p_value[rows]
        better = (p_value > before) | ((p_value == before) & (score < self.score[rows]))
        better &= said.label != labels
        chosen = rows[better]
        self.images[chosen] = images.detach()[better]
        self.p_value[chosen] = p_value[better]
        self.score[chosen] = score[better]


class Evasion(ABC):
    """Seeks, within a budget, an image that is misclassified and looks clean to the guard."""

    def __init__(self, norm: Norm) -> None:
        self.norm = norm

    @abstractmethod
    def evade(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        budgets: Sequence[float],
        generator: torch.Generator,
    ) -> list[Best]:
        """Attack a batch with ever larger budgets.

        Args:
            target: The guard.
            images: ``(n, c, h, w)`` clean pixels in [0, 1], each classified correctly.
            labels: ``(n,)`` their classes.
            budgets: Rising, in pixels of [0, 1]. What is found within one holds within the next.
            generator: Of random starts and steps, on the CPU.

        Returns:
            The best found within each budget.
        """


class Climb(Evasion):
    """An evasion that takes up, at every budget, what it found within the one before."""

    @final
    def evade(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        budgets: Sequence[float],
        generator: torch.Generator,
    ) -> list[Best]:
        best, reached = Best.none(images), []
        for eps in budgets:
            self._improve(target, images, labels, eps, best, generator)
            reached.append(best.copy())
        return reached

    @abstractmethod
    def _improve(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        eps: float,
        best: Best,
        generator: torch.Generator,
    ) -> None:
        """Better what ``best`` holds, within ``eps``."""
