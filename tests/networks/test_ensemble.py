"""Several networks that answer as one: averages by hand, folders, and what is refused."""

import pytest
import torch
from torch import nn

from advdetect import storage
from advdetect.errors import FileError, ModelError
from advdetect.features import record
from advdetect.networks import Ensemble, build, load_model
from advdetect.networks.ensemble import average, member_of

ONE = {
    "kind": "network",
    "name": "resnet",
    "arguments": {"mean": [0.5], "std": [0.25], "classes": 3, "width": 2, "blocks": [1, 1]},
}
ARCHITECTURE = {"kind": "ensemble", "members": [ONE, ONE | {"name": "resnet"}]}
IMAGES = torch.linspace(0, 1, 128).view(2, 1, 8, 8)


class Says(nn.Module):
    """Answers with probabilities that are given, up to a constant of its own."""

    def __init__(self, probabilities, constant=0.0):
        super().__init__()
        self.logits = torch.tensor(probabilities).log() + constant

    def forward(self, images):
        return self.logits.expand(len(images), -1)


@pytest.fixture
def folder(tmp_path):
    """An ensemble's folder."""
    path = tmp_path / "pair"
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = build(ARCHITECTURE)
    sha256 = {
        f"member-{i}.safetensors": storage.save_tensors(
            path / f"member-{i}.safetensors", member.state_dict()
        )
        for i, member in enumerate(model.members)
    }
    card = {
        "schema": 1,
        "network": ARCHITECTURE,
        "input": {"shape": [1, 8, 8], "range": [0, 1]},
        "classes": ["ant", "bee", "cat"],
        "sha256": sha256,
    }
    storage.write_json(path / "card.json", card)
    return path


def test_probabilities_are_averaged_whatever_constants_logits_have():
    # (0.2 + 0.6) / 2, (0.3 + 0.3) / 2, (0.5 + 0.1) / 2
    ensemble = Ensemble([Says([0.2, 0.3, 0.5], 7.0), Says([0.6, 0.3, 0.1], -4.0)])
    expected = torch.tensor([[0.4, 0.3, 0.3]]).expand(2, 3)
    torch.testing.assert_close(ensemble(IMAGES).exp(), expected)


def test_the_sure_count_for_more_than_the_many():
    # Averages of logits or votes would both say the second class.
    ensemble = Ensemble([Says([0.98, 0.02]), Says([0.4, 0.6]), Says([0.4, 0.6])])
    assert ensemble(IMAGES)[0].argmax() == 0
    torch.testing.assert_close(ensemble(IMAGES)[0, 0].exp(), torch.tensor(1.78 / 3))


def test_one_member_alone_answers_with_its_log_probabilities():
    member = Says([0.2, 0.8], 3.0)
    torch.testing.assert_close(Ensemble([member])(IMAGES), member(IMAGES).log_softmax(1))


def test_certain_members_give_finite_logits_and_gradients():
    logits = torch.tensor([[[200.0, -200.0]], [[200.0, -100.0]]], requires_grad=True)
    found = average(logits)
    # The less certain one decides: half of exp(-300).
    torch.testing.assert_close(found[0], torch.tensor([0.0, -300 - torch.tensor(2.0).log()]))
    found.sum().backward()
    assert logits.grad.isfinite().all()


def test_logits_of_members_are_stacked():
    ensemble = Ensemble([Says([0.2, 0.8]), Says([0.6, 0.4])])
    found = ensemble.member_logits(IMAGES)
    expected = torch.tensor([[0.2, 0.8], [0.6, 0.4]]).log()[:, None].expand(2, 2, 2)
    torch.testing.assert_close(found, expected)
    assert len(ensemble) == 2


def test_an_ensemble_has_members():
    with pytest.raises(ModelError, match="an ensemble needs at least one member, got none"):
        Ensemble([])
    with pytest.raises(ModelError, match="an ensemble needs at least one member, got none"):
        build({"kind": "ensemble"})


def test_members_have_the_same_classes():
    ensemble = Ensemble([Says([0.2, 0.8]), Says([0.2, 0.3, 0.5])])
    message = r"members of an ensemble differ in their logits: \(2,\), \(3,\)"
    with pytest.raises(ModelError, match=message):
        ensemble(IMAGES)


def test_a_folder_holds_each_member(folder):
    model = load_model(str(folder))
    assert isinstance(model.module, Ensemble)
    assert not any(module.training for module in model.module.modules())
    assert (model.architecture, model.shape) == (ARCHITECTURE, (1, 8, 8))
    probabilities = []
    for i in range(2):
        member = build(ONE).eval()
        member.load_state_dict(storage.load_tensors(folder / f"member-{i}.safetensors"))
        probabilities.append(member(IMAGES).softmax(1))
    assert not torch.allclose(*probabilities)
    torch.testing.assert_close(model.module(IMAGES).exp(), sum(probabilities) / 2)


def test_a_damaged_member_is_named(folder):
    file = folder / "member-1.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileError, match="member-1.safetensors is damaged or was changed: its sha"):
        load_model(str(folder))
    file.unlink()
    with pytest.raises(FileError, match=r"^no file .*member-1.safetensors$"):
        load_model(str(folder))


def test_a_card_that_forgets_a_member_is_named(folder):
    card = storage.read_json(folder / "card.json")
    del card["sha256"]["member-1.safetensors"]
    storage.write_json(folder / "card.json", card)
    with pytest.raises(FileError, match=r"card.json: KeyError\('member-1.safetensors'\)"):
        load_model(str(folder))


def test_weights_that_do_not_fit_a_member_are_named(folder):
    card = storage.read_json(folder / "card.json")
    card["network"]["members"][1] = {**ONE, "arguments": {**ONE["arguments"], "width": 3}}
    storage.write_json(folder / "card.json", card)
    message = "the weights of .*member-1.safetensors do not fit: size mismatch"
    with pytest.raises(ModelError, match=message):
        load_model(str(folder))


def test_layers_are_recorded_by_member(folder):
    module = load_model(str(folder)).module
    with record(module) as recording:
        module(IMAGES)
    own = ["relu", *(f"stages.{s}.0.relu{i}" for s in (0, 1) for i in (1, 2))]
    assert recording.layers == [f"members.{i}.{layer}" for i in (0, 1) for layer in own]
    with record(module.members[1]) as alone:
        module.members[1](IMAGES)
    for layer in own:
        found = recording.activations[f"members.1.{layer}"]
        assert torch.equal(found, alone.activations[layer])


@pytest.mark.parametrize(
    ("layer", "member"),
    [
        ("members.0.relu", 0),
        ("members.12.stages.0.relu:2", 12),
        ("members.relu", None),
        ("members", None),
        ("stages.1.relu", None),
        ("body.members.1.relu", None),
    ],
)
def test_a_layers_name_says_whose_it_is(layer, member):
    assert member_of(layer) == member
