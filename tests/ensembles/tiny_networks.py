"""Networks that other processes import by name."""

import time

import torch
from torch import nn


def plain():
    """Without BatchNorm, whose statistics are of each process's own share of a batch."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 10)
    )


def dropping():
    """One that draws numbers itself."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10)
    )


class Slow(nn.Module):
    """One that takes its time, so that it can be killed in the middle."""

    def __init__(self):
        super().__init__()
        self.layers = plain()

    def forward(self, images):
        if self.training:
            time.sleep(0.02)
        return self.layers(images)


class Exploding(nn.Module):
    """Its logits leave the floats' range."""

    def __init__(self):
        super().__init__()
        self.layers = plain()

    def forward(self, images):
        return self.layers(images) * torch.inf


def without_linear():
    return nn.Sequential(nn.Conv2d(1, 10, 8), nn.ReLU(), nn.Flatten())
