"""An evaluation in a folder: interrupted, made again, and held against what it was made from."""

import importlib
import json
import pkgutil
import shutil
from contextlib import contextmanager
from dataclasses import is_dataclass, replace

import pytest
import torch
from torch import nn

from advdetect import data, workflows
from advdetect.attacks.knowing import ADAPTIVE, EPS
from advdetect.errors import FileError, InputError
from advdetect.guard import Guard
from advdetect.report.report import ALL
from advdetect.runs import RunFolder
from advdetect.runs.records import read_records
from advdetect.workflows import demonstrating, keeping
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.evaluating import evaluate
from advdetect.workflows.evaluating_run import Fitting, evaluate_again, evaluate_into
from advdetect.workflows.keeping import FILES
from advdetect.workflows.recording import KEYS, KNOWING, of_kind
from advdetect.workflows.reporting import report_of

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
    clean, *blocks = read_records(folder / "records.parquet", KEYS)
    assert clean["index"].tolist() == digits["evaluation"].index.tolist()
    for block in blocks:
        assert block["index"].tolist() == digits["evaluation"].index[:12].tolist()
        assert (block["flagged"] == (block["p_value"] <= small_guard.false_alarm_rate)).all()
        assert not any("time" in name or "second" in name for name in block.columns)
    assert len(blocks) == 4
    assert "http" not in (folder / "report.html").read_text().replace("http://www.w3.org", "")


def test_made_again_from_its_records_alone_it_has_the_same_bytes(folder):
    before = contents(folder)
    for name in KEPT[1:]:
        (folder / name).unlink()
    shutil.rmtree(folder / "adversarial")
    with no_model():
        evaluate_again(folder)
    assert contents(folder) == before


@contextmanager
def no_model():
    """Nothing is built, and nothing passes through a module."""

    def refuse(*_arguments, **_options):
        raise AssertionError("a model was used")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "__call__", refuse)
        patch.setattr(nn.Module, "__init__", refuse)
        yield


def test_the_command_repeated_judges_nothing_again(
    folder, small_guard, small_guard_folder, digits, monkeypatch
):
    before = contents(folder)
    monkeypatch.setattr(Guard, "judge", None)  # a verdict would fail
    name = str(small_guard_folder)
    evaluate_into(small_guard, digits["evaluation"], folder, name=name, suite="quick", limit=12)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["records.parquet", "judged.json"])
def test_the_command_repeated_makes_good_what_is_damaged(
    folder, small_guard, small_guard_folder, digits, name
):
    before = contents(folder)
    (folder / name).write_bytes(b"damaged")
    named = str(small_guard_folder)
    evaluate_into(small_guard, digits["evaluation"], folder, name=named, suite="quick", limit=12)
    assert contents(folder) == before


def test_other_runs_are_no_evaluations(small, digits, tmp_path):
    attack_data(small, digits["evaluation"].subset(range(2)), tmp_path / "run", suite="quick")
    with pytest.raises(FileError, match="is a run of attack, not of evaluate"):
        evaluate_again(tmp_path / "run")
    with pytest.raises(FileError, match="no run in .*nothing: expected a folder with manifest"):
        evaluate_again(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"about": None}, "judged.json is damaged or was changed: expected 'about' as dict"),
        ({"pictures": [{}] * 99}, "judged.json and drawn.safetensors do not fit each other"),
        ({"pictures": ["a"]}, "judged.json and drawn.safetensors do not fit each other"),
    ],
)
def test_a_changed_description_is_refused(folder, change, message):
    about = json.loads((folder / "judged.json").read_text())
    (folder / "judged.json").write_text(json.dumps(about | change))
    with pytest.raises(FileError, match=message):
        evaluate_again(folder)


@pytest.mark.parametrize("name", FILES)
def test_an_unfinished_evaluation_is_refused(folder, name):
    if not (folder / name).exists():
        pytest.skip("an evaluation without cuts")
    (folder / name).unlink()
    with pytest.raises(FileError, match=name):
        evaluate_again(folder)


def test_a_guard_attacked_knowingly(small_guard, small_guard_folder, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(EPS, "linf", (8 / 255, 1.0))
    options = {"name": str(small_guard_folder), "suite": "quick", "limit": 6, "adaptive": 6}
    done = evaluate_into(small_guard, digits["evaluation"], tmp_path, **options)
    report = done.report
    together = report.evasion()
    assert [row.eps for row in together] == list(EPS["linf"])
    assert together[-1].success["0.05"].value == 1  # any image may become any other
    blocks = read_records(tmp_path / "records.parquet", KEYS)
    for row in report.knowing:
        if row.attack == ALL:
            continue
        (block,) = (
            b
            for b in blocks
            if (b.keys["kind"], b.keys["attack"], b.keys["eps"]) == ("knowing", row.attack, row.eps)
        )
        right = block["clean_prediction"] == block["label"]
        evaded = (block["prediction"] != block["label"]) & (block["p_value"] > 0.05)
        assert row.success["0.05"].value == pytest.approx(evaded[right].mean())
        # Judged by the guard itself, on the pictures that are kept.
        assert (block["linf"] <= row.eps + 1e-6).all()
    past = [row for row in done.figures.pictures if row.attack.split()[0] in ADAPTIVE]
    assert past
    for row in past:
        assert row.attacked_label != row.true_label == row.clean_label
        assert row.attacked_p_value > 0.05
        assert not row.attacked_flagged
    assert {row.attack for row in report.convergence} <= set(ADAPTIVE)
    assert len(report.convergence) == len(EPS["linf"])
    # A guard at another rate is told what gets past at its own.
    judged, _, _ = keeping.kept(tmp_path)
    own = {"guard": judged.about["guard"] | {"false_alarm_rate": 0.3}}
    at_own = report_of(replace(judged, about=judged.about | own))
    single = [row for row in at_own.knowing if row.attack != ALL]
    for row, block in zip(single, of_kind(judged.records, KNOWING), strict=True):
        right = block["clean_prediction"] == block["label"]
        evaded = block["success"] & (block["p_value"] > 0.3)
        assert at_own.evaded(row).value == pytest.approx(evaded[right].mean())
    before = contents(tmp_path)
    kept = next((tmp_path / "adversarial" / "knowing-logistic").glob("linf_joint*"))
    kept.unlink()
    evaluate_into(small_guard, digits["evaluation"], tmp_path, **options)
    assert contents(tmp_path) == before


def test_baselines_of_other_images_or_attacks_are_another_run(digits, tmp_path):
    for name, seed in (("run", 0), ("again", 0), ("other", 1)):
        RunFolder.start(tmp_path / name, "attack", {"seed": seed})
    reference, calibration = digits["reference"], digits["calibration"]
    first = Fitting(reference, calibration, tmp_path / "run")
    assert first.fingerprint == replace(first, attacked=tmp_path / "again").fingerprint
    others = (
        replace(first, attacked=tmp_path / "other"),
        replace(first, attacked=None),
        replace(first, calibration=calibration.subset(range(9))),
        replace(first, reference=reference.subset(range(9))),
    )
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_images_that_do_not_fit_are_refused_before_anything_is_attacked(small_guard, tmp_path):
    larger = data.load("digits", split="evaluation", limit=5, resize=(12, 12))
    with pytest.raises(InputError, match=r"expected images of shape \(1, 8, 8\)"):
        evaluate_into(small_guard, larger, tmp_path / "run", name="x", suite="quick")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["reference", "calibration"])
def test_images_that_the_guard_was_made_from_are_refused(small_guard, digits, tmp_path, split):
    n = len(digits[split])
    message = (
        f"^{n} of {n} images served to fit or calibrate this guard, and would flatter it: give "
        "images that it has not seen, such as the evaluation split of the data it was fitted on"
    )
    with pytest.raises(InputError, match=message):
        evaluate_into(small_guard, digits[split], tmp_path / "run", name="x", suite="quick")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=message):
        evaluate(small_guard, digits[split].images, digits[split].labels, suite="quick")


def test_a_few_duplicates_are_no_reason_to_refuse(small_guard, digits):
    new = digits["evaluation"].images[:200]
    small_guard.check_unseen(torch.cat([new, digits["reference"].images[:2]]))
    with pytest.raises(InputError, match="^3 of 203 images"):
        small_guard.check_unseen(torch.cat([new, digits["reference"].images[:3]]))


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
