"""What is mended in Foolbox's minimum-norm attacks, and what ours share with Foolbox's own."""

import pytest
import torch
from torch import nn

from advdetect.attacks import ATTACKS, Budget, attack_chunk
from advdetect.attacks.foolbox_attacks import foolbox


class OnlyBlack(nn.Module):
    """Class 1 for a black picture alone, with a gradient of zero."""

    def forward(self, images):
        brightest = images.flatten(1).amax(1)
        black = (brightest == 0).to(images.dtype) + 0 * brightest
        return torch.stack([1 - black, black], 1)


def own(attack, known):
    """Run an attack of Foolbox as it comes."""
    model = foolbox().PyTorchModel(known.model, bounds=(0, 1), device="cpu")
    found = attack.run(model, known.images, foolbox().criteria.Misclassification(known.labels))
    return found, torch.linalg.vector_norm((found - known.images).flatten(1), dim=1)


def test_carlini_wagner_that_finds_nothing_has_no_success_with_a_black_picture(known):
    # Foolbox returns black pictures for "nothing found", and black is another class here.
    chunk = attack_chunk(
        OnlyBlack(), known.images, known.labels, Budget("l2_carlini_wagner"), seed=0
    )
    assert not chunk.success.any()
    assert torch.equal(chunk.adversarial, known.images)


def test_fmn_comes_back_from_a_first_step_that_goes_too_far(known):
    settings = {"steps": 50, "max_stepsize": 1.0}
    _, theirs = own(foolbox().attacks.L2FMNAttack(**settings), known)
    _, ours = own(type(ATTACKS["l2_fmn"].build())("l2", **settings), known)
    assert theirs.min() > 2 * known.distance["l2"].min()
    assert (ours / known.distance["l2"]).max() < 1.01


@pytest.mark.parametrize("margin", [0.01, 1.0])
def test_linf_fmn_crosses_a_plane_that_its_radius_ends_on(known, margin):
    away = known.distance["linf"]
    step = known.model.normal.detach().sign().view(1, 4, 4)
    near = known.images - (1 - margin) * away.view(-1, 1, 1, 1) * step
    chunk = attack_chunk(known.model, near, known.labels, Budget("linf_fmn"), seed=0)
    assert chunk.success.all()
    assert (chunk.distance <= 1.01 * margin * away + 1e-6).all()
