"""A classifier whose nearest adversarial picture is known in closed form."""

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from advdetect.attacks import ATTACKS
from advdetect.attacks.foolbox_attacks import foolbox

foolbox()  # once, and quietly: from here on the attacks that build on it can be imported

QUERIES = 400


class Plane(nn.Module):
    """Class 0 on the side of a plane that its normal vector points to, class 1 on the other."""

    def __init__(self, normal):
        super().__init__()
        self.normal = nn.Parameter(normal)
        self.dropout = nn.Dropout(0.5)  # would show a model that is not in evaluation mode
        self.norm = nn.BatchNorm1d(2, affine=False, eps=0)

    def margin(self, images):
        return (images - 0.5).flatten(1) @ self.normal

    def forward(self, images):
        margin = self.margin(self.dropout(images))
        return self.norm(torch.stack([margin, torch.zeros_like(margin)], 1))


@dataclass(frozen=True)
class Known:
    """A model, pictures of class 0 well inside the pixel range, and how far the plane is."""

    model: Plane
    images: Tensor
    labels: Tensor
    distance: dict[str, Tensor]


@pytest.fixture
def known():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(16, generator=generator)
    normal = normal.sign() * (normal.abs() + 0.5)
    unit = normal / normal.norm()
    away = torch.linspace(0.05, 0.3, 6)
    along = 0.05 * torch.randn(6, 16, generator=generator)
    along -= (along @ unit)[:, None] * unit
    images = (0.5 + away[:, None] * unit + along).view(6, 1, 4, 4)
    # By Hoelder: |w.x + b| over the dual norm of w.
    distance = {"l2": away, "linf": away * normal.norm() / normal.abs().sum()}
    return Known(Plane(normal).eval(), images, torch.zeros(6, dtype=torch.int64), distance)


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    """Random search gives up early: a test asks whether it keeps its word, not how far it gets."""
    from advdetect.attacks import square, strong

    monkeypatch.setattr(strong, "QUERIES", 100)
    for name, build in {"linf": square.LinfSquare, "l2": square.L2Square}.items():
        short = replace(ATTACKS[f"{name}_square"], build=partial(build, queries=QUERIES))
        monkeypatch.setitem(ATTACKS, f"{name}_square", short)
