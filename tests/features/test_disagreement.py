"""How members disagree, on observations worked out by hand."""

import copy

import torch

from advdetect.features import FeatureExtractor
from advdetect.features.base import Observation
from advdetect.features.disagreement import DisagreementFeatures
from advdetect.networks import Ensemble


def observation(first, second, predicted):
    """Two members of one layer each; only every fourth unit counts for edges."""
    layers = {"members.0.relu": first, "members.1.relu": second}
    logits = torch.eye(2)[predicted]
    return Observation(logits, layers)


# Units 0 and 4 count for edges; two classes, one landmark each.
AXES = torch.zeros(2, 8)
AXES[0, 0] = AXES[1, 4] = 1.0
REFERENCE = AXES * 2 - 0.5


def fitted(first=REFERENCE, second=REFERENCE):
    layers = ("members.0.relu", "members.1.relu")
    return DisagreementFeatures(2, layers).fit(observation(first, second, [0, 1]))


def test_members_that_see_the_same_agree():
    found = fitted().rows(observation(REFERENCE, REFERENCE, [0, 1]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 0.0]] * 2))


def test_members_that_place_an_input_in_different_classes():
    # Landmarks lie on the axes of units 0 and 4: an input on one of them has edges (1, 0) in the
    # first member and (0, 1) in the second. Of 8 bits it shares 8 with one class and 6 with the
    # other: centred (1, -1) / 8 against (-1, 1) / 8, a difference of 2 / 8 on its own class.
    found = fitted().rows(observation(REFERENCE[:1], REFERENCE[1:], [0]))
    torch.testing.assert_close(found, torch.tensor([[0.0, -1.0, 0.25]]))


def test_units_of_members_need_not_correspond():
    shuffled = REFERENCE[:, [4, 1, 2, 3, 0, 5, 6, 7]]
    found = fitted(REFERENCE, shuffled).rows(observation(REFERENCE, shuffled, [0, 1]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 0.0]] * 2))


def test_a_single_network_has_no_columns():
    feature = DisagreementFeatures(2, ("relu",))
    seen = Observation(torch.eye(2), {"relu": REFERENCE})
    assert feature.fit(seen).columns == []
    assert feature.rows(seen).shape == (2, 0)


def test_a_guard_looks_at_it_for_ensembles_alone(small, digits):
    images = digits["reference"].images[:40]
    one = FeatureExtractor.fit(small.module, images, units=64)
    model = Ensemble([small.module, copy.deepcopy(small.module)])
    two = FeatureExtractor.fit(model, images, units=64)
    assert set(two.features) - set(one.features) == {"disagreement"}
    columns = [column.meaning for column in two.columns if column.family == "disagreement"]
    # Two ends of blocks in each member, three columns each.
    assert len(columns) == 6
    assert columns[0] == "edges agree with members.1.stages.1.0.relu2"
    again = FeatureExtractor.load(two.config(), two.tensors())
    rows = two.rows(two.observe(model, images))
    torch.testing.assert_close(again.rows(again.observe(model, images)), rows)


def test_gradients_flow_through_it():
    z = REFERENCE.clone().requires_grad_()
    seen = Observation(torch.eye(2), {"members.0.relu": z, "members.1.relu": -z}, sharpness=1.0)
    (gradient,) = torch.autograd.grad(fitted().rows(seen).sum(), z)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
