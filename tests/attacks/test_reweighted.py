"""The attack that re-weights an ensemble's members: what hides behind their average."""

import pytest
import torch
from torch import nn

from advdetect.attacks import Budget, attack_chunk
from advdetect.networks import Ensemble


class Sure(nn.Module):
    """Two classes by whether a picture's first pixel is above a half, with this much certainty."""

    def __init__(self, certainty, pixel):
        super().__init__()
        self.certainty, self.pixel = certainty, pixel

    def forward(self, images):
        score = self.certainty * (images.flatten(1)[:, self.pixel] - 0.5)
        return torch.stack([-score, score], dim=1)


IMAGES = torch.full((4, 1, 1, 2), 0.55)
LABELS = torch.ones(4, dtype=torch.int64)


def success(model, name, eps=0.08):
    return attack_chunk(model, IMAGES, LABELS, Budget(name, eps), seed=0).success


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_breaks_what_only_the_sure_member_keeps_right(norm):
    # Both pixels may fall below a half, where both members err. But the first member is so sure
    # that the probabilities it adds have no gradient left in single precision.
    eps = 0.0505 if norm == "linf" else 0.0505 * 2**0.5  # so that no start is beyond a half
    ensemble = Ensemble([Sure(5000.0, 0), Sure(1.0, 1)])
    assert not success(ensemble, f"{norm}_pgd", eps).any()
    assert success(ensemble, f"{norm}_reweighted", eps).all()


def test_finds_nothing_where_there_is_nothing():
    ensemble = Ensemble([Sure(50.0, 0), Sure(1.0, 1)])
    assert not success(ensemble, "linf_reweighted", eps=0.049).any()
    assert success(ensemble, "linf_reweighted", eps=0.051).all()


def test_success_is_the_ensembles_own():
    # The unsure member alone is fooled; the average is not, and counts.
    ensemble = Ensemble([nn.Sequential(Sure(1.0, 0), Shifted()), Sure(1.0, 1)])
    assert not success(ensemble, "linf_reweighted").any()


class Shifted(nn.Module):
    """Always class 1, by far."""

    def forward(self, logits):
        return logits + torch.tensor([0.0, 9.0])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_model_without_members_is_an_ensemble_of_one(norm, known):
    eps = known.distance[norm][2:4].mean().item()
    found = attack_chunk(
        known.model, known.images, known.labels, Budget(f"{norm}_reweighted", eps), seed=0
    )
    assert torch.equal(found.success, known.distance[norm] < eps)
