"""A guard's folder: what comes back from it, and what is refused."""

import ast
import hashlib
import json
import pickle
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import advdetect
from advdetect import storage
from advdetect.errors import AdvDetectError, FileError, ModelError
from advdetect.guard import Guard
from advdetect.guard.files import seal
from advdetect.networks import load_model

TENSORS = ["calibration", "detector", "features", "fitting", "held_out", "model", "seen"]


@pytest.fixture
def folder(small_guard_folder, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(small_guard_folder, tmp_path / "guard"))


def rewrite(folder, **changes):
    """Change ``guard.json`` as somebody might who knows how it is sealed."""
    about = storage.read_json(folder / "guard.json") | changes
    about["sha256"]["guard.json"] = seal(about)
    storage.write_json(folder / "guard.json", about)


def refused(folder, kind, message, **options):
    with pytest.raises(kind, match=message) as error:
        Guard.load(folder, **options)
    assert "\n" not in str(error.value)


def test_a_description_without_its_seal_is_refused(folder):
    about = storage.read_json(folder / "guard.json")
    del about["sha256"]["guard.json"]
    storage.write_json(folder / "guard.json", about)
    refused(folder, FileError, "incomplete")


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("detector", ["logistic", "hybrid", "fiedler", "clean-only"])
def test_read_back_it_gives_the_same_verdicts(
    small, digits, small_attacks, tmp_path, detector, per_class
):
    guard = Guard.fit(
        small.module,
        digits["reference"].images,
        small_attacks,
        calibration_images=digits["calibration"].images,
        detector=detector,
        per_class=per_class,
        false_alarm_rate=0.1,
        units=100,
    )
    guard.architecture = small.architecture
    guard.save(tmp_path)
    again = Guard.load(tmp_path)
    assert again.detector_name == detector
    assert again.false_alarm_rate == 0.1
    assert again.about == guard.about
    before, after = (g(digits["evaluation"].images[:60]) for g in (guard, again))
    # Arrays read back lie otherwise in memory, which may change a sum's last digit.
    for field in fields(before):
        if field.name != "evidence":
            pair = getattr(before, field.name), getattr(after, field.name)
            torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-9)
    assert list(before.evidence) == list(after.evidence)
    for layer, part in before.evidence.items():
        torch.testing.assert_close(part, after.evidence[layer], rtol=1e-9, atol=1e-9)


def test_read_back_its_rows_refit_to_the_same_detector(small_guard, small_guard_folder):
    again = Guard.load(small_guard_folder)
    refitted = again.fitting.fit(type(again.detector)(**again.detector.get_params()))
    np.testing.assert_array_equal(refitted.coefficients_, small_guard.detector.coefficients_)
    assert again.fitting.budgets == small_guard.fitting.budgets
    assert again.fitting.roles is None  # one pass: all columns are alike
    assert torch.equal(again.held_out.rows, small_guard.held_out.rows)


@pytest.mark.parametrize("detector", ["hybrid", "fiedler", "clean-only"])
def test_read_back_it_knows_which_columns_a_distance_counts(
    small, digits, small_attacks, tmp_path, detector
):
    guard = Guard.fit(
        small.module,
        digits["reference"].images,
        small_attacks,
        detector=detector,
        choose=False,
        passes=2,
        gradient=True,
        units=64,
    )
    guard.architecture = small.architecture
    guard.save(tmp_path)
    again = Guard.load(tmp_path)
    counted = [i for i, column in enumerate(guard.extractor.columns) if column.counted]
    assert 0 < len(counted) < len(guard.extractor.columns)
    for known in (guard, again):
        assert np.flatnonzero(known.fitting.roles.counted).tolist() == counted
    assert again.fitting.roles.rising.sum() > 0
    refitted = again.fitting.fit(type(again.detector)(**again.detector.get_params()))
    np.testing.assert_allclose(
        again.held_out.scores(refitted), guard.calibration.scores, rtol=1e-6, atol=1e-6
    )


def test_the_same_guard_gives_the_same_bytes(small_guard_folder, tmp_path):
    Guard.load(small_guard_folder).save(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in small_guard_folder.iterdir()}
    assert set(written) == {"guard.json", *(f"{name}.safetensors" for name in TENSORS)}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_changed_byte_is_refused(folder, name, place):
    file = folder / f"{name}.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    refused(folder, FileError, rf"{name}\.safetensors is damaged or was changed: its sha256 is not")


def test_a_changed_byte_of_the_description_is_refused(folder):
    file = folder / "guard.json"
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        if same_description(changed, content):  # a blank, which means nothing
            continue
        refused(folder, AdvDetectError, None)


def same_description(changed, content):
    try:
        return json.loads(changed) == json.loads(content)
    except ValueError:
        return False


def test_a_false_alarm_rate_put_in_by_hand_is_refused(folder):
    file = folder / "guard.json"
    text = file.read_text()
    assert '"false_alarm_rate": 0.05' in text
    file.write_text(text.replace('"false_alarm_rate": 0.05', '"false_alarm_rate": 0.01'))
    refused(folder, FileError, r"guard\.json is damaged or was changed")


@pytest.mark.parametrize("name", TENSORS)
def test_a_missing_file_is_named(folder, name):
    (folder / f"{name}.safetensors").unlink()
    refused(folder, FileError, rf"^no file .*{name}\.safetensors$")


def test_a_folder_without_a_guard_is_refused(folder, tmp_path):
    (folder / "guard.json").unlink()
    refused(folder, FileError, r"no guard in .*: expected a folder with guard\.json")
    refused(tmp_path / "nothing", FileError, r"no guard in .*nothing: expected a folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"guard\.json is no readable JSON file"),
        ("{", r"guard\.json is no readable JSON file"),
        ("[]", r"guard\.json has no schema number: it was not written by advdetect"),
        ('{"schema": "1"}', r"guard\.json has no schema number"),
        (
            '{"schema": 2}',
            r"guard\.json has schema 2, this version reads up to 1: update advdetect",
        ),
        ('{"schema": 1}', r"guard\.json is incomplete: "),
        ('{"schema": 1, "sha256": 3}', r"guard\.json is incomplete: "),
    ],
)
def test_says_what_is_wrong_with_the_description(folder, content, message):
    (folder / "guard.json").write_text(content)
    refused(folder, FileError, message)


@pytest.mark.parametrize("key", ["model", "features", "detector", "budgets", "input_shape"])
def test_a_description_that_lacks_something_is_refused(folder, key):
    about = storage.read_json(folder / "guard.json")
    del about[key]
    about["sha256"]["guard.json"] = seal(about)
    storage.write_json(folder / "guard.json", about)
    refused(folder, FileError, rf"guard\.json is incomplete: '{key}'")


def test_a_newer_schema_is_refused_before_anything_else(folder):
    rewrite(folder, schema=7, detector={"name": "one of the future"})
    refused(folder, FileError, r"guard\.json has schema 7, this version reads up to 1")


def test_a_detector_of_another_version_is_refused(folder):
    rewrite(folder, detector={"name": "oracle", "parameters": {}})
    refused(folder, AdvDetectError, "no detector named 'oracle', choose from: logistic")


def test_another_models_weights_are_refused(small_model, folder):
    other = load_model(str(small_model)).module
    with torch.no_grad():
        other.classifier.bias[3] += 1e-4
    refused(folder, ModelError, "was fitted on another model: the weights differ", model=other)
    refused(folder, ModelError, "was fitted on another model", model=nn.Linear(3, 3))


def test_weights_swapped_for_another_models_are_refused_though_their_sha256_is_right(folder):
    weights = storage.load_tensors(folder / "model.safetensors")
    weights["classifier.bias"] += 1
    sha256 = storage.read_json(folder / "guard.json")["sha256"]
    sha256["model.safetensors"] = storage.save_tensors(folder / "model.safetensors", weights)
    rewrite(folder, sha256=sha256)
    refused(folder, ModelError, "was fitted on another model: the weights differ from its own")


def test_a_model_of_the_users_own_is_taken_as_it_is(small, small_guard, folder, digits):
    rewrite(folder, architecture=None)
    refused(folder, ModelError, r"does not know how to build its model: pass model=\.\.\.")
    guard = Guard.load(folder, model=small.module)
    assert guard.model is small.module
    images = digits["evaluation"].images[:9]
    assert torch.equal(guard(images).score, small_guard(images).score)


def test_nothing_is_unpickled(small_guard_folder, monkeypatch):
    def tripped(*_arguments, **_options):
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(torch, "load", tripped)
    monkeypatch.setattr(pickle, "load", tripped)
    monkeypatch.setattr(pickle, "loads", tripped)
    monkeypatch.setattr(pickle, "Unpickler", tripped)
    Guard.load(small_guard_folder)
    kinds = {path.suffix for path in small_guard_folder.rglob("*")}
    assert kinds == {".json", ".safetensors"}


def calls_of(tree):
    """Calls in a source file, as ``(dotted name, {keyword: source})``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            yield ast.unparse(node.func), keywords


# Between a process and those it started, through a pipe; never a file.
SPEAK_TO_THEIR_OWN = ("runs/processes.py", "workflows/attacking_worker.py")


def test_the_source_unpickles_no_file():
    package = Path(advdetect.__file__).parent
    sources = sorted(package.rglob("*.py"))
    loads = 0
    for source in sources:
        tree = ast.parse(source.read_text())
        imported = {
            name.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for name in node.names
        } | {
            str(node.module).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        if source.relative_to(package).as_posix() not in SPEAK_TO_THEIR_OWN:
            assert not imported & {"pickle", "joblib", "dill", "cloudpickle", "shelve"}, source
        for name, keywords in calls_of(tree):
            if name == "torch.load":
                assert keywords["weights_only"] == "True", source
                loads += 1
            if name in ("np.load", "numpy.load"):
                assert keywords["allow_pickle"] == "False", source
                loads += 1
    assert loads >= 3  # weights of a user's own, .npy and .npz


def test_the_recorded_sha256_are_those_of_the_files(small_guard_folder):
    recorded = storage.read_json(small_guard_folder / "guard.json")["sha256"]
    for name in TENSORS:
        content = (small_guard_folder / f"{name}.safetensors").read_bytes()
        assert recorded[f"{name}.safetensors"] == hashlib.sha256(content).hexdigest()
