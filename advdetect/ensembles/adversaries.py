"""Adversarial examples for training: crafted on every batch, on the ensemble's average.

They are made to be learned from and are weaker than the attacks that a model is judged by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect.attacks.balls import project

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Adversary:
    """How examples are crafted within linf budgets, or around them.

    Attributes:
        steps: How many.
        stride: Length of a step, as a share of eps; ``None``: 2.5 eps over all steps together.
        reach: The start is up to so many eps away from the images.
        leaves: Steps from the start may end outside eps.
        smooths: The loss is how far the clean prediction moves, and a model learns from clean
            images and how far examples move its prediction; otherwise it learns from examples.
    """

    steps: int
    stride: float | None = None
    reach: float = 1.0
    leaves: bool = False
    smooths: bool = False

    def craft(
        self, network: Network, images: Tensor, labels: Tensor, noise: Tensor, eps: float
    ) -> Tensor:
        """Return ``(n, c, h, w)`` examples in [0, 1].

        Args:
            network: Returns logits.
            images: ``(n, c, h, w)`` pixels.
            labels: ``(n,)`` classes.
            noise: As ``images``, uniform in [-1, 1]: the start, in units of ``reach`` eps.
            eps: Linf budget in pixels. Examples stay within it, or within ``reach + steps *
                stride`` of it where the adversary ``leaves`` it.
        """
        stride = 2.5 / self.steps if self.stride is None else self.stride
        if self.smooths:
            with torch.no_grad():
                clean = network(images).float().softmax(1)
        moved = (images + self.reach * eps * noise).clamp(0, 1)
        for _ in range(self.steps):
            moved.requires_grad_()
            logits = network(moved).float()
            loss = divergence(logits, clean) if self.smooths else F.cross_entropy(logits, labels)
            (gradient,) = torch.autograd.grad(loss, moved)
            moved = moved.detach() + stride * eps * gradient.sign()
            moved = moved.clamp(0, 1) if self.leaves else project(moved, images, eps, "linf")
        return moved.detach()


def divergence(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of the logits' distributions from ``probabilities``."""
    return F.kl_div(logits.log_softmax(1), probabilities, reduction="batchmean")


ADVERSARIES: Mapping[str, Adversary] = {
    # Wong, Rice and Kolter 2020, arXiv:2001.03994: one step from a random start.
    "fgsm": Adversary(steps=1, stride=1.25),
    # De Jorge et al. 2022, arXiv:2202.01181: from further out and left there, so that one
    # step is not overfitted at large eps.
    "n-fgsm": Adversary(steps=1, stride=1.0, reach=2.0, leaves=True),
    # Madry et al. 2018, arXiv:1706.06083.
    "pgd": Adversary(steps=7),
    # Zhang et al. 2019, arXiv:1901.08573.
    "trades": Adversary(steps=7, smooths=True),
}
