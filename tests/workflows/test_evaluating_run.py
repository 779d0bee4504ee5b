"""An evaluation in a folder: interrupted, made again, and held against what it was made from."""

import importlib
import json
import pkgutil
import shutil
from dataclasses import is_dataclass

import numpy as np
import pytest

from advdetect import data, storage, workflows
from advdetect.errors import FileError, InputError
from advdetect.guard import Guard
from advdetect.runs.records import read_records
from advdetect.workflows import demonstrating
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.evaluating_run import evaluate_again, evaluate_into

KEPT = ("records.parquet", "report.json", "report.md")


@pytest.fixture(scope="module")
def evaluated(small_guard, small_guard_folder, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "evaluation"
    name = str(small_guard_folder)
    done = evaluate_into(
        small_guard, digits["evaluation"], folder, name=name, suite="quick", limit=12
    )
    return folder, done


@pytest.fixture
def folder(evaluated, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(evaluated[0], tmp_path / "run")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in KEPT}


def test_files_and_records(evaluated, small_guard, digits):
    folder, done = evaluated
    assert {path.name for path in done.files} >= {"report.json", "report.md", "report.html"}
    assert all(path.is_file() for path in done.files)
    report = json.loads((folder / "report.json").read_text())
    assert report == done.report.to_json()
    assert report["clean"]["n"] == len(digits["evaluation"])
    assert (report["model"], report["data"], report["split"]) == ("small", "digits", "evaluation")
    records = read_records(folder / "records.parquet")
    assert records["index"] == digits["evaluation"].index[:12].tolist() * 4
    assert "http" not in (folder / "report.html").read_text().replace("http://www.w3.org", "")
    for p_value, flagged in zip(records["p_value"], records["flagged"], strict=True):
        assert flagged == (p_value <= small_guard.false_alarm_rate)
    assert not any("time" in name or "second" in name for name in records)


def test_made_again_without_attacking_it_has_the_same_bytes(folder, monkeypatch):
    def attacked(*_arguments, **_options):
        raise AssertionError("something was attacked")

    monkeypatch.setattr("advdetect.workflows.attacking.attack_chunk", attacked)
    before = contents(folder)
    for name in KEPT:
        (folder / name).unlink()
    evaluate_again(folder)
    assert contents(folder) == before


def test_a_guard_that_has_changed_is_refused(folder, small_guard_folder, tmp_path):
    """The run names its guard's folder, where another one lies by now."""
    place = tmp_path / "guard"
    manifest = storage.read_json(folder / "manifest.json")
    manifest["configuration"]["guard"] = str(place)
    storage.write_json(folder / "manifest.json", manifest)
    guard = Guard.load(small_guard_folder)
    guard.save(place)
    evaluate_again(folder)
    guard.false_alarm_rate = 0.2
    guard.save(place)
    with pytest.raises(FileError, match=r"the guard .* has changed since .* was made"):
        evaluate_again(folder)
    shutil.rmtree(place)
    with pytest.raises(FileError, match=r"no guard '.*guard' \(no such folder\)"):
        evaluate_again(folder)


def test_data_that_have_changed_are_refused(folder, digits, tmp_path):
    """The run names a file, in which other pictures lie by now."""
    some = digits["reference"]
    np.savez(tmp_path / "other.npz", images=some.images.numpy(), labels=some.labels.numpy())
    manifest = storage.read_json(folder / "manifest.json")
    manifest["configuration"]["data"] = str(tmp_path / "other.npz")
    storage.write_json(folder / "manifest.json", manifest)
    with pytest.raises(FileError, match=r"the data .*other.npz have changed since .* was made"):
        evaluate_again(folder)


def test_other_runs_are_no_evaluations(small, digits, tmp_path):
    attack_data(small, digits["evaluation"].subset(range(2)), tmp_path / "run", suite="quick")
    with pytest.raises(FileError, match="is a run of attack, not of evaluate"):
        evaluate_again(tmp_path / "run")
    with pytest.raises(FileError, match="no run in .*nothing: expected a folder with manifest"):
        evaluate_again(tmp_path / "nothing")


def test_an_unfinished_evaluation_is_refused(folder):
    next((folder / "adversarial").glob("linf_fgsm*")).unlink()
    with pytest.raises(FileError, match="is not finished, linf_fgsm-8_255-000000 is missing"):
        evaluate_again(folder)


def test_images_that_do_not_fit_are_refused_before_anything_is_attacked(small_guard, tmp_path):
    larger = data.load("digits", split="evaluation", limit=5, resize=(12, 12))
    with pytest.raises(InputError, match=r"expected images of shape \(1, 8, 8\)"):
        evaluate_into(small_guard, larger, tmp_path / "run", name="x", suite="quick")
    assert not (tmp_path / "run").exists()


def test_the_demonstration_tells_its_story_and_goes_on(small_model, tmp_path, monkeypatch):
    """The same story on digits, which take seconds."""
    monkeypatch.setattr(demonstrating, "MODEL", str(small_model))
    monkeypatch.setattr(demonstrating, "DATA", "digits")
    monkeypatch.setattr(demonstrating, "ATTACKED", 60)
    monkeypatch.setattr(demonstrating, "EVALUATED", 10)
    told = []
    shown = demonstrating.demonstrate(tmp_path, tell=told.append)
    assert [line[:4] for line in told] == ["1/3 ", "2/3 ", "    ", "3/3 "]
    assert "attacking 10 evaluation images and judging all 539" in told[3]
    assert Guard.load(shown.guard).about["model"] == str(small_model)
    before = contents(tmp_path / "evaluation")
    done = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors") if "-0" in p.name}
    assert len(done) == 8
    assert demonstrating.demonstrate(tmp_path, tell=told.append).folder == tmp_path
    assert contents(tmp_path / "evaluation") == before
    assert {p: p.stat().st_mtime_ns for p in done} == done


def test_results_are_frozen():
    found = 0
    for module in pkgutil.iter_modules(workflows.__path__, "advdetect.workflows."):
        for thing in vars(importlib.import_module(module.name)).values():
            if is_dataclass(thing) and thing.__module__ == module.name:
                assert thing.__dataclass_params__.frozen, thing
                found += 1
    assert found >= 8
