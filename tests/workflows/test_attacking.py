"""Attacks into a run folder: what is kept, what is summed up, and what goes on after a stop."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from advdetect import data
from advdetect.attacks import attack
from advdetect.errors import FileError, InputError, ModelError
from advdetect.networks import LoadedModel, load_model
from advdetect.runs import RunFolder
from advdetect.runs.records import read_records
from advdetect.workflows.attacking import attack_data, read_attacks, summarise
from advdetect.workflows.recording import KEYS


@pytest.fixture(scope="module")
def some(digits):
    return digits["reference"].subset(range(130))  # a chunk and a part of one


@pytest.fixture(scope="module")
def finished(small, some, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "attacked"
    run, attacked = attack_data(small, some, folder, suite="quick", seed=3)
    return run, attacked, summarise(run, attacked, some)


@pytest.fixture
def folder(finished, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(finished[0].path, tmp_path / "run")


def same(first, second):
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for a, b in zip(first.results, second.results, strict=True)
        for name in ("adversarial", "labels", "source", "prediction", "success", "distances")
    )


def test_the_run_holds_what_attacking_in_memory_gives(finished, small, some):
    _, attacked, _ = finished
    again = attack(small.module, some.images, some.labels, suite="quick", seed=3)
    assert same(attacked, again)
    assert [r.budget for r in attacked.results] == [r.budget for r in again.results]
    # The run keeps source indices of the data set, memory only positions.
    assert all(torch.equal(r.index, some.index) for r in attacked.results)


def test_read_back_it_is_the_same(finished):
    run, attacked, _ = finished
    again = read_attacks(RunFolder.open(run.path))
    assert same(attacked, again)
    assert (again.suite, again.seed) == ("quick", 3)


def test_a_run_goes_on_where_it_was_stopped(finished, small, some, tmp_path):
    class StopError(Exception):
        pass

    def stop_after_three(items, description):
        assert description == "attacking"
        yield from items[:3]
        raise StopError

    with pytest.raises(StopError):
        attack_data(small, some, tmp_path, suite="quick", seed=3, track=stop_after_three)
    with pytest.raises(FileError, match=r"is not finished, .* is missing: repeat the command that"):
        read_attacks(RunFolder.open(tmp_path))
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "adversarial").iterdir()}
    assert len(done) == 3
    run, attacked = attack_data(small, some, tmp_path, suite="quick", seed=3)
    summarise(run, attacked, some)
    assert {path: path.stat().st_mtime_ns for path in done} == done  # nothing was done twice
    other = finished[0].path
    names = sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.is_file())
    assert names == sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    )
    for name in names:
        if name != "timings.json":
            assert (tmp_path / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 4}, "seed"),
        ({"suite": "fitting"}, "budgets"),
        ({"norm": "linf", "eps": 0.05}, "budgets"),
        ({"command": "evaluate"}, "command"),
        ({"extra": {"guard": "x"}}, "guard"),
    ],
)
def test_a_run_of_another_configuration_is_left_alone(folder, small, some, changes, key):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    options = {"suite": "quick", "seed": 3} | changes
    with pytest.raises(FileError, match=rf"run holds another run \(its {key} is .*give another -"):
        attack_data(small, some, folder, **options)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_on_other_images_or_of_another_model_is_left_alone(folder, small, some):
    with pytest.raises(FileError, match=r"holds another run \(its count is 130, not 129\)"):
        attack_data(small, some.subset(range(129)), folder, suite="quick", seed=3)
    with pytest.raises(FileError, match=r"holds another run \(its images is "):
        attack_data(small, some.subset(range(129, -1, -1)), folder, suite="quick", seed=3)
    with pytest.raises(FileError, match=r"holds another run \(its split is reference, not eval"):
        attack_data(small, replace(some, split="evaluation"), folder, suite="quick", seed=3)
    other = load_model(small.name)
    with torch.no_grad():
        other.module.classifier.bias += 1
    with pytest.raises(FileError, match=r"holds another run \(its weights is "):
        attack_data(other, some, folder, suite="quick", seed=3)


def test_a_damaged_shard_is_named(folder):
    shard = sorted((folder / "adversarial").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(FileError, match=f"{shard.stem}.* delete it and repeat the run's own"):
        read_attacks(RunFolder.open(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "loud"}, "no suite named 'loud', choose from: quick, fitting, standard"),
        ({"norm": "l1"}, "no norm named 'l1', choose from: linf, l2"),
        ({"suite": "quick", "norm": "l2"}, "the suite 'quick' has no l2 attack"),
        ({"eps": 0.1}, "an eps means nothing without its norm"),
    ],
)
def test_a_mistake_leaves_no_folder(small, some, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        attack_data(small, some, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_labels_that_the_model_has_no_class_for_are_refused(small, some, tmp_path):
    wrong = replace(some, labels=some.labels + 1)
    with pytest.raises(InputError, match="labels must run from 0 to 9, got 1 to 10"):
        attack_data(small, wrong, tmp_path / "run", suite="quick")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Conv2d(3, 10, 3),
            r"^net fails on images of shape \(1, 8, 8\) \(channels, height, width\) of digits: Gi",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10)), "of digits: mat1 and mat2 shapes"),
        (nn.Conv2d(1, 10, 3), r"expected net to return \(n, classes\) logits, got \(1, 10, 6, 6\)"),
        (nn.RNN(8, 4), "net fails on images of shape .*: RNN: Expected input"),
    ],
)
def test_a_model_that_cannot_take_the_images_is_one_line(some, tmp_path, module, message):
    with pytest.raises(ModelError, match=message) as error:
        attack_data(LoadedModel("net", module, {}), some, tmp_path / "run", suite="quick")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_images_of_another_shape_than_the_card_says_are_refused(small, tmp_path):
    larger = data.load("digits", split="reference", limit=5, resize=(12, 12))
    with pytest.raises(InputError, match=r"expected images of shape \(1, 8, 8\) .*got \(1, 12, 12"):
        attack_data(small, larger, tmp_path / "run", suite="quick")


def test_the_summary_counts_what_happened(finished, small, some):
    _, attacked, summary = finished
    with torch.no_grad():
        right = small.module(some.images).argmax(1) == some.labels
    assert summary.clean_accuracy == pytest.approx(right.float().mean().item())
    assert [line.attack for line in summary.attacks] == [r.attack for r in attacked.results]
    for line, result in zip(summary.attacks, attacked.results, strict=True):
        with torch.no_grad():
            holds = small.module(result.adversarial).argmax(1) == some.labels
        broken = right & ~holds
        assert line.images == 130
        assert line.robust_accuracy == pytest.approx(holds.float().mean().item())
        assert line.success_rate == pytest.approx((broken.sum() / right.sum()).item())
        difference = (result.adversarial - some.images).flatten(1).abs().amax(1)
        if broken.any():
            expected = difference[broken].median().item()
            assert line.median_perturbation == pytest.approx(expected, abs=1e-6)
        else:
            assert line.median_perturbation is None
    assert summary.to_json()["folder"] == summary.folder


def test_records_hold_a_row_per_image_and_attack(finished, some):
    run, attacked, _ = finished
    blocks = read_records(run.path / "records.parquet", KEYS)
    assert [block.keys["attack"] for block in blocks] == [r.attack for r in attacked.results]
    assert [block.keys["kind"] for block in blocks] == ["attack"] * 3 + ["control"]
    for block, result in zip(blocks, attacked.results, strict=True):
        assert block.keys["eps"] == result.eps
        assert block["index"].tolist() == some.index.tolist()
        assert block["label"].tolist() == some.labels.tolist()
        assert block["success"].tolist() == (block["prediction"] != block["label"]).tolist()
        change = (result.adversarial - some.images).flatten(1)
        np.testing.assert_allclose(block["linf"], change.abs().amax(1))
        np.testing.assert_allclose(block["l2"], change.norm(dim=1), rtol=1e-6)


def test_attacks_on_other_images_are_no_records_of_these(finished, digits):
    run, attacked, _ = finished
    others = digits["evaluation"].subset(range(130))
    with pytest.raises(InputError, match="the attacks were made on other images: 130 of 130 are"):
        summarise(run, attacked, others)
