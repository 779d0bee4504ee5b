"""A decision-based attack on the guard as a whole: label and flag, nothing else."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advdetect.attacks.balls import project
from advdetect.attacks.base import Norm
from advdetect.attacks.foolbox_attacks import foolbox
from advdetect.attacks.knowing.evasion import Best, Evasion
from advdetect.attacks.knowing.target import Target


class GuardBoundary(Evasion):
    """HopSkipJump towards the nearest picture that is misclassified and not flagged.

    It starts from a picture of the batch that the guard lets pass as another class, and walks
    along the edge of what the guard lets pass. A picture without such a start is left alone.
    Whether a picture is flagged is all it learns of the guard, at the guard's own false-alarm
    rate: success at other rates is by chance.

    Args:
        norm: ``linf`` or ``l2``.
        steps: Steps of HopSkipJump.

    Source:
        Chen, Jordan & Wainwright 2020, arXiv:1904.02144.
    """

    def __init__(self, norm: Norm, *, steps: int = 12) -> None:
        super().__init__(norm)
        self.steps = steps

    def evade(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        budgets: Sequence[float],
        generator: torch.Generator,
    ) -> list[Best]:
        rows = torch.arange(len(images), device=images.device)
        best, reached = Best.none(images), []
        found = self._walk(target, images, labels, best)
        for eps in budgets:
            # Just inside: the walk ends on the edge, up to its tolerance.
            near = project(found, images, eps, self.norm)
            whole = (near - found).abs().flatten(1).amax(1) <= 1e-6
            if whole.any():
                best.keep(rows[whole], near[whole], labels[whole], target.ask(near[whole]))
            reached.append(best.copy())
        return reached

    def _walk(self, target: Target, images: Tensor, labels: Tensor, best: Best) -> Tensor:
        """Pictures at the edge of what the guard lets pass; the image itself where none is."""
        foolbox()
        from advdetect.attacks.decision import UnitHopSkipJump

        start, able = self._start(target, images, labels)
        walked = images.clone()
        if able.any():
            attack = UnitHopSkipJump(
                steps=self.steps,
                initial_gradient_eval_steps=50,
                max_gradient_eval_steps=150,
                constraint=self.norm,
            )
            passed = _Passed(target, labels[able])
            model = foolbox().PyTorchModel(passed.eval(), bounds=(0, 1), device=images.device)
            criterion = foolbox().criteria.Misclassification(labels[able])
            walked[able] = attack.run(model, images[able], criterion, starting_points=start[able])
            best.forwards[able] += passed.calls
        return walked

    def _start(self, target: Target, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest picture that passes as another class ``(n, c, h, w)``, and where one is."""
        said = target.ask(images)
        order = torch.inf if self.norm == "linf" else 2.0
        distance = torch.cdist(images.flatten(1), images.flatten(1), p=order)
        distance[:, said.p_value <= target.false_alarm_rate] = torch.inf
        distance[said.label[None, :] == labels[:, None]] = torch.inf
        nearest, chosen = distance.min(1)
        return images[chosen], torch.isfinite(nearest)


class _Passed(nn.Module):
    """The guard as a classifier: a flagged picture counts as recognised.

    Args:
        target: The guard.
        labels: ``(n,)`` the true class of each row of every batch.
    """

    def __init__(self, target: Target, labels: Tensor) -> None:
        super().__init__()
        self.target = target
        self.labels = labels
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        said = self.target.ask(images)
        flagged = said.p_value <= self.target.false_alarm_rate
        seen = torch.where(flagged, self.labels, said.label)
        return F.one_hot(seen, said.logits.shape[1]).to(images)
