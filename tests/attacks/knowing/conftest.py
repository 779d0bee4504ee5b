"""A guarded classifier in which everything is linear, so that the best attack is known."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from advdetect.attacks.knowing import Answers, Look


@dataclass
class LinearGuard:
    """Class 0 where ``normal`` points to; the more an image points along ``odd``, the odder.

    The p-value is 1 at score -1 and below, and falls to 0 at score 1.
    """

    normal: torch.Tensor
    odd: torch.Tensor
    false_alarm_rate: float = 0.05
    asked: int = field(default=0)
    looked: int = field(default=0)

    def frozen(self):
        return nullcontext()

    def ask(self, images):
        self.asked += len(images)
        flat = (images - 0.5).flatten(1)
        score = flat @ self.odd
        margin = flat @ self.normal
        logits = torch.stack([margin, torch.zeros_like(margin)], 1)
        p_value = ((1 - score) / 2).clamp(0, 1)
        return Answers(logits, logits.argmax(1), p_value, score)

    def look(self, images, *, sharpness):
        self.looked += len(images)
        said = self.ask(images)
        rows = torch.stack([said.logits[:, 0], said.true_score], 1)
        bits = {"layer": torch.sigmoid(sharpness * (images - 0.5).flatten(1))}
        plain = [t.detach() for t in (said.label, said.p_value, said.true_score)]
        return Look(said.logits, said.true_score, rows, bits, *plain)


@dataclass
class Known:
    """A guard, pictures of class 0, and the least linf budget that evades it for each."""

    guard: LinearGuard
    images: torch.Tensor
    labels: torch.Tensor

    def least(self, p_value):
        """By linear programming: least eps at which some picture fools both."""
        limit = 1 - 2 * p_value  # of the score
        return torch.tensor([self._least(image, limit) for image in self.images])

    def _least(self, image, limit):
        # Over (change, eps): |change| <= eps, normal.(x + change) <= 0, odd.(x + change) <= limit.
        flat = (image - 0.5).flatten().double().numpy()
        normal, odd = self.guard.normal.double().numpy(), self.guard.odd.double().numpy()
        d = len(flat)
        both = np.block(
            [
                [np.eye(d), -np.ones((d, 1))],
                [-np.eye(d), -np.ones((d, 1))],
                [normal[None], np.zeros((1, 1))],
                [odd[None], np.zeros((1, 1))],
            ]
        )
        right = np.concatenate([np.zeros(2 * d), [-normal @ flat, limit - odd @ flat]])
        bounds = [(-0.5 - x, 0.5 - x) for x in flat] + [(0, None)]
        found = linprog(np.append(np.zeros(d), 1.0), both, right, bounds=bounds)
        assert found.success
        return found.x[-1]


@pytest.fixture
def known():
    generator = torch.Generator().manual_seed(3)
    normal = torch.randn(36, generator=generator)
    # What is odd to the guard lies partly on the other side of the boundary.
    odd = torch.randn(36, generator=generator) - 0.7 * normal
    images = 0.5 + 0.08 * torch.randn(8, 1, 6, 6, generator=generator)
    images += (0.3 - (images - 0.5).flatten(1) @ normal).view(-1, 1, 1, 1) * (
        normal / normal.square().sum()
    ).view(1, 1, 6, 6)
    odd *= 0.8 / (images - 0.5).flatten(1).matmul(odd).abs().max()
    return Known(LinearGuard(normal, odd), images, torch.zeros(8, dtype=torch.int64))
