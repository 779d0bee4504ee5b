"""Transfer between members, and how alike they are, where the answer is known."""

import copy
import json

import pytest
import torch
from torch import nn

from advdetect import data
from advdetect.guard import Guard
from advdetect.networks import Ensemble, LoadedModel
from advdetect.workflows.evaluating_members import evaluate_members, member_similarity
from advdetect.workflows.evaluating_run import evaluate_again, evaluate_into


class Turned(nn.Module):
    """The same network, seeing pictures upside down: what fools one seldom fools the other."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images.flip(2))


@pytest.fixture(scope="module")
def some():
    return data.load("digits", split="evaluation", limit=12)


@pytest.fixture(scope="module")
def twins(small):
    return Ensemble([small.module, copy.deepcopy(small.module)])


@pytest.fixture(scope="module")
def blocks(twins, small, some, tmp_path_factory):
    outside = LoadedModel("other", Turned(small.module), {})
    return evaluate_members(twins, some, tmp_path_factory.mktemp("members"), outside=outside)


def rights(blocks, source, target):
    return {
        (b.keys["attack"], b.keys["eps"]): b["right"].tolist()
        for b in blocks
        if (b.keys["source"], b.keys["target"]) == (source, target)
    }


def test_what_fools_a_member_fools_its_twin(blocks, some):
    own = rights(blocks, "member-0", "member-0")
    assert own == rights(blocks, "member-0", "member-1") == rights(blocks, "member-0", "average")
    assert len(own) == 8
    assert not all(all(right) for right in own.values())
    every = [b["index"].tolist() for b in blocks]
    assert every == [some.index.tolist()] * len(every)


def test_clean_images_are_judged_by_every_network(blocks, twins, some):
    (right,) = rights(blocks, "clean", "average").values()
    assert right == (twins(some.images).argmax(1) == some.labels).tolist()
    assert set(rights(blocks, "clean", "outside")) == {("clean", None)}


def test_the_average_meets_more_attacks_than_the_members(blocks):
    kinds = {attack for attack, _ in rights(blocks, "average", "average")}
    assert kinds == {"linf_pgd", "linf_reweighted", "linf_strong"}
    assert {attack for attack, _ in rights(blocks, "outside", "average")} == {
        "linf_fgsm",
        "linf_pgd",
    }


def test_twins_are_as_alike_as_can_be_and_others_less(small, twins, some):
    for row in member_similarity(twins, some.images):
        assert row["values"] == pytest.approx(dict.fromkeys(row["values"], 1.0), abs=1e-4)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        other = type(small.module)([0.3], [0.375], width=4, blocks=[1, 1]).eval()
    rows = member_similarity(Ensemble([small.module, other]), some.images)
    layers = [row["layer"] for row in rows]
    assert layers[-1] == "penultimate"
    assert len(layers) == 6
    assert all(row["values"]["unbiased_linear_cka"] < 0.95 for row in rows[1:])


def test_a_guards_report_tells_of_its_members(twins, digits, some, tmp_path, small_attacks):
    guard = Guard.fit(
        twins,
        digits["reference"].images,
        small_attacks,
        calibration_images=digits["calibration"].images,
        units=64,
    )
    done = evaluate_into(guard, some, tmp_path / "run", name="twins", suite="quick")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    clean, *_ = report["transfer"]
    assert (clean["source"], clean["target"]) == ("clean", "member-0")
    assert clean["accuracy"]["n"] == 12
    # Attacked images count where every network was right to begin with.
    right = round(clean["accuracy"]["value"] * 12)
    assert {row["accuracy"]["n"] for row in report["transfer"][3:]} == {right}
    assert "Examples crafted on one network" in (tmp_path / "run" / "report.md").read_text()
    before = (tmp_path / "run" / "report.json").read_bytes()
    assert evaluate_again(tmp_path / "run").report.transfer == done.report.transfer
    assert (tmp_path / "run" / "report.json").read_bytes() == before
