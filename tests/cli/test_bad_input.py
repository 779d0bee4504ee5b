"""A user's mistake is one line on standard error and status 1, never a traceback."""

import shutil

import numpy as np
import pytest
import torch

from advdetect import storage
from advdetect.guard.files import seal
from advdetect.networks import load_model

QUICK = ("--suite", "quick", "--limit", "5")


@pytest.fixture
def npz(tmp_path, digits):
    """``npz(images=..., labels=...)``: a file of digits, with other arrays where given."""
    some = digits["reference"].subset(range(60))

    def write(**changes):
        arrays = {"images": some.images.numpy().copy(), "labels": some.labels.numpy().copy()}
        for name, change in changes.items():
            arrays[name] = change(arrays[name])
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return write


def one_nan(images):
    images[:, 0, 3, 3] = np.nan
    return images


@pytest.mark.filterwarnings("default")
def test_random_weights_are_a_warning_of_one_line(advdetect, tmp_path):
    options = ["--data", "digits", "--out", tmp_path / "run"]
    result = advdetect("attack", "torchvision:squeezenet1_1", *options)
    warned, failed = result.stderr.splitlines()
    assert warned.startswith("warning: torchvision:squeezenet1_1 has random weights: give trained")
    assert failed.startswith("error: torchvision:squeezenet1_1 fails on images of shape (1, 8, 8)")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"images": one_nan}, "{}: pixels must be finite, got NaN or infinity"),
        ({"images": lambda x: x * 255}, "{}: pixels must lie in [0, 1], got [0, 255]: give the mo"),
        ({"images": lambda x: x - 0.5}, "{}: pixels must lie in [0, 1], got [-0.5, 0.5]"),
        ({"images": lambda x: x > 0.5}, "{}: expected pixels as uint8, uint16 or float in [0, 1]"),
        ({"images": lambda x: x[:50]}, "{}: expected 50 labels, one per image, got shape (60,)"),
        ({"labels": lambda y: y + 1}, "labels must run from 0 to 9, got 1 to 10"),
        ({"labels": lambda y: y - 1}, "{}: labels must run from 0, got -1 to 8"),
        ({"labels": lambda y: y / 2}, "{}: expected integer labels, got float64"),
        ({"images": lambda x: x.repeat(3, 1)}, "expected images of shape (1, 8, 8) (channels, hei"),
        ({"images": lambda x: x[..., :6]}, "expected images of shape (1, 8, 8) (channels, height"),
    ],
)
def test_arrays(small_model, npz, refused, tmp_path, changes, error):
    file = npz(**changes)
    # Every label, so that the highest is among those taken.
    options = ["--data", file, "--split", "reference", "--suite", "quick"]
    refused("attack", small_model, *options, "--out", tmp_path / "run", error=error.format(file))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"pictures": [0]}, "{}: has no array 'images', it holds: pictures"),
        ({"images": np.array([{}])}, "{}: cannot be read as an array file (.npy or .npz of numb"),
    ],
)
def test_files_that_are_no_arrays(small_model, refused, tmp_path, arrays, error):
    file = tmp_path / "data.npz"
    np.savez(file, **arrays)
    refused("attack", small_model, "--data", file, *QUICK, error=error.format(file))


def test_an_array_file_that_is_text(small_model, refused, tmp_path):
    file = tmp_path / "data.npz"
    file.write_text("no arrays")
    refused("attack", small_model, "--data", file, error=f"{file}: cannot be read as an array fil")


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (
            ("attack", "{small}", "--data", "{empty}"),
            "{empty}: expected one folder of pictures per",
        ),
        (("attack", "{small}", "--data", "{none}"), "no data set, folder or file named '{none}'"),
        (("attack", "{empty}"), "{empty} has no card.json: expected a shipped model, a model's fo"),
        (("attack", "{none}"), "no model named '{none}', shipped are: "),
        (("detect", "{guard}", "{empty}"), "{empty}: no picture in this folder (.png, .jpg"),
        (("detect", "{guard}", "{none}"), "{none}: no such file or folder"),
        (("detect", "{none}", "{empty}"), "no guard '{none}' (no such folder): expected a folder "),
        (("detect", "{empty}", "{empty}"), "no guard '{empty}' (it holds no guard.json): expected"),
        (("evaluate", "{none}"), "no guard '{none}' (no such folder): expected a folder "),
        (
            ("evaluate", "--from", "{empty}"),
            "no run in {empty}: expected a folder with manifest.js",
        ),
        (("evaluate", "--from", "{attacked}"), "{attacked} is a run of attack, not of evaluate"),
        (("evaluate", "small", "--from", "{attacked}"), "--from reads a finished run alone"),
        (
            ("fit", "{small}", "--data", "digits", "--attacked", "{none}", "--out", "{out}"),
            "no run in {none}: expected a folder with manifest.json",
        ),
        (
            ("fit", "{small}", "--data", "digits", "--detector", "oracle", "--out", "{out}"),
            "no detector named 'oracle', choose from: logistic, hybrid, fiedler, clean-only",
        ),
        (
            ("fit", "{small}", "--data", "digits", "--false-alarm-rate", "0.001", "--out", "{out}"),
            "a false-alarm rate of 0.001 needs at least 999 clean calibration inputs, got 360: giv",
        ),
        (
            ("fit", "{small}", "--data", "digits", "--limit", "18", "--out", "{out}"),
            "a false-alarm rate of 0.05 needs at least 19 clean calibration inputs, got 18: give m",
        ),
        (
            ("fit", "{small}", "--data", "digits", "--false-alarm-rate", "1.5", "--out", "{out}"),
            "a false-alarm rate lies between 0 and 1, got 1.5",
        ),
        (
            ("attack", "{small}", "--data", "fashion-mnist", "--suite", "quick", "--limit", "2"),
            "expected images of shape (1, 8, 8) (channels, height, width), got (1, 28, 28)",
        ),
        (
            ("attack", "{small}", "--data", "digits", "--channels", "3", "--limit", "2"),
            "expected images of shape (1, 8, 8) (channels, height, width), got (3, 8, 8)",
        ),
        (
            ("attack", "{small}", "--data", "digits", "--split", "all"),
            "no split named 'all', choose ",
        ),
        (
            ("attack", "{small}", "--data", "digits", "--resize", "big"),
            "expected a size such as 28",
        ),
        (
            ("attack", "{small}", "--data", "digits", "--channels", "2"),
            "expected 1 channel (grey) or 3 (colour), got 2",
        ),
        (
            ("attack", "{small}", "--data", "digits", "--norm", "l1"),
            "no norm named 'l1', choose fr",
        ),
        (
            ("attack", "{small}", "--data", "digits", "--eps", "8/0"),
            "expected an eps such as 0.1 or",
        ),
        (
            ("attack", "{small}", "--data", "digits", "--eps", "-1"),
            "an eps is not negative and fini",
        ),
        (("attack", "{small}", "--data", "digits", "--eps", "0.1"), "an eps means nothing without"),
        (("attack", "{small}", "--weights", "{none}"), "{small} has weights of its own: --weights"),
        (("attack", "torchvision:resnet0"), "torchvision has no classifier named 'resnet0'"),
        (
            ("compare-runs", "{empty}", "{none}"),
            "no finished evaluation in {empty}: expected a fol",
        ),
        (("compare-runs", "{empty}"), "expected at least two runs to compare, got 1"),
        (
            ("attack", "{small}", "--data", "digits", "--surrogate", "fashion-resnet"),
            "expected images of shape (1, 28, 28)",
        ),
        (("evaluate", "{guard}", "--data", "fashion-mnist"), "expected images of shape (1, 8, 8)"),
    ],
)
def test_paths_and_options(
    small_model, small_guard_folder, small_run, refused, tmp_path, monkeypatch, command, error
):
    monkeypatch.chdir(tmp_path)
    places = {
        "small": small_model,
        "guard": small_guard_folder,
        "attacked": small_run,
        "empty": tmp_path / "empty",
        "none": tmp_path / "none",
        "out": tmp_path / "out",
    }
    places["empty"].mkdir()
    arguments = [argument.format(**places) for argument in command]
    refused(*arguments, error=error.format(**places))
    assert not places["out"].exists()


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("my_models:without_relu", "model has no ReLU-family call"),
        ("my_models:coloured", "my_models:coloured fails on images of shape (1, 8, 8)"),
        ("my_models:missing", "cannot import my_models:missing: module 'my_models' has no attrib"),
    ],
)
def test_models_of_the_users_own(own_models, refused, model, error):
    options = ["--data", "digits", "--detector", "clean-only", "--out", "guard"]
    line = refused("fit", model, *options, error="")
    assert error in line
    assert not (own_models / "guard").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_model(own_models, refused):
    options = ["--data", "digits", "--detector", "clean-only", "--out", "guard"]
    refused(
        "fit", "my_models:scripted", *options, error="cannot see into TorchScript, the model is"
    )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no file {}/model.safetensors"),
        (
            lambda folder: (folder / "features.safetensors").write_bytes(b"x"),
            "{}/features.safetensors is damaged or was changed: its sha256 is not the recorded one",
        ),
        (
            lambda folder: (folder / "guard.json").write_text('{"schema": 99}'),
            "{}/guard.json has schema 99, this version reads up to 1: update advdetect",
        ),
        (
            lambda folder: (folder / "guard.json").write_text("{"),
            "{}/guard.json is no readable JSON file",
        ),
    ],
)
def test_spoilt_guards(small_guard_folder, pictures, refused, tmp_path, change, error):
    folder = shutil.copytree(small_guard_folder, tmp_path / "guard")
    change(folder)
    refused("detect", folder, pictures, error=error.format(folder))


def test_a_guard_of_another_model(small_guard_folder, pictures, refused, tmp_path):
    folder = shutil.copytree(small_guard_folder, tmp_path / "guard")
    weights = storage.load_tensors(folder / "model.safetensors")
    weights["classifier.bias"] += 1
    about = storage.read_json(folder / "guard.json")
    about["sha256"]["model.safetensors"] = storage.save_tensors(
        folder / "model.safetensors", weights
    )
    about["sha256"]["guard.json"] = seal(about)
    storage.write_json(folder / "guard.json", about)
    error = f"{folder} was fitted on another model: the weights differ from its own"
    refused("detect", folder, pictures, error=error)


def test_a_run_against_another_model(small_model, small_run, refused, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "model")
    weights = load_model(str(small_model)).module.state_dict()
    weights["classifier.bias"] = weights["classifier.bias"] + 1
    card = storage.read_json(folder / "card.json")
    sha256 = storage.save_tensors(folder / "weights.safetensors", weights)
    storage.write_json(folder / "card.json", card | {"sha256": {"weights.safetensors": sha256}})
    options = ["--data", "digits", "--attacked", small_run, "--out", tmp_path / "guard"]
    error = f"{small_run} attacked another model than {folder}"
    refused("fit", folder, *options, error=error)


@pytest.mark.parametrize("split", ["evaluation", "calibration"])
def test_attacks_on_images_that_are_not_for_fitting(
    advdetect, small_model, refused, tmp_path, split
):
    run = tmp_path / "run"
    attacked = advdetect(
        "attack", small_model, "--data", "digits", "--split", split, *QUICK, "--out", run
    )
    assert attacked.exit_code == 0, attacked.output
    options = ["--data", "digits", "--attacked", run, "--out", tmp_path / "guard"]
    error = f"{run} was made on {split} images: a guard is fitted on reference images alone"
    refused("fit", small_model, *options, error=error)
    assert not (tmp_path / "guard").exists()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (("--seed", "1"), "seed"),
        (("--limit", "79"), "count"),
        (("--split", "evaluation"), "images"),
        (("--norm", "linf", "--eps", "0.1"), "budgets"),
    ],
)
def test_a_run_of_another_configuration(small_model, small_run, refused, options, key):
    before = sorted(path.stat().st_mtime_ns for path in small_run.rglob("*"))
    given = ["--data", "digits", "--split", "reference", "--suite", "quick", "--limit", "80"]
    line = refused(
        "attack", small_model, *given, *options, "--out", small_run, error=f"{small_run} holds anot"
    )
    assert f"holds another run (its {key} is " in line
    assert line.rstrip().endswith("give another --out, or repeat that run's own command")
    assert sorted(path.stat().st_mtime_ns for path in small_run.rglob("*")) == before


@pytest.mark.parametrize("command", ["attack", "evaluate"])
def test_a_folder_that_holds_something_else(
    small_model, small_guard_folder, refused, tmp_path, command
):
    (tmp_path / "thesis.tex").write_text("years of work")
    what = {"attack": small_model, "evaluate": small_guard_folder}[command]
    options = ["--data", "digits", *QUICK, "--out", tmp_path]
    refused(command, what, *options, error=f"{tmp_path} is not empty and holds no run: give anot")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_unpickling_is_refused(own_models, refused):
    torch.save({"1.weight": own_models}, own_models / "w.pt")
    options = ["--weights", "w.pt", "--data", "digits", *QUICK]
    refused("attack", "my_models:make", *options, error="w.pt holds no plain state dict: ")


def test_a_guards_place_that_is_a_file(small_model, refused, tmp_path):
    (tmp_path / "guard").write_text("a file")
    options = ["--data", "digits", "--detector", "clean-only", "--out", tmp_path / "guard"]
    refused("fit", small_model, *options, error=f"{tmp_path / 'guard'} is a file: --out expects a")


@pytest.mark.parametrize(
    ("option", "said"),
    [(("--passes", "2"), "passes stay 1"), (("--gradient",), "leave gradient out")],
)
def test_a_detector_with_features_of_its_own(small_model, refused, tmp_path, option, said):
    # Said before anything is attacked.
    options = ["--data", "digits", "--detector", "lid", *option, "--out", tmp_path / "guard"]
    error = f"the detector lid reads features of its own: {said}"
    refused("fit", small_model, *options, error=error)


@pytest.mark.parametrize("command", ["attack", "fit"])
def test_a_place_below_a_file(small_model, refused, tmp_path, command):
    (tmp_path / "file").write_text("a file")
    out = tmp_path / "file" / "below"
    more = {"attack": ["--suite", "quick", "--limit", "2"], "fit": ["--detector", "clean-only"]}
    line = refused(
        command, small_model, "--data", "digits", *more[command], "--out", out, error=tmp_path
    )
    assert line.rstrip().endswith(("Not a directory", "File exists"))
