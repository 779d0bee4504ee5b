"""advdetect train, from a command line to a model's folder."""

import json
import sys

import numpy as np
import pytest
import torch

from advdetect.networks import load_model

TINY = ("--set", "arguments.width=2", "--set", "arguments.blocks=[1]", "--epochs", "1")
DIGITS = ("--data", "digits", "--split", "reference", "--limit", "150", "--batch", "50")
PAIR = (*DIGITS, *TINY, "--members", "2", "--penalty", "dcor")


@pytest.fixture
def ready(advdetect, tmp_path):
    """``ready(*arguments)``: train, and return the card and what was said."""

    def run(*arguments, out=tmp_path / "model"):
        result = advdetect("train", *arguments, "--out", out)
        assert result.exit_code == 0, result.output
        return json.loads((out / "card.json").read_text()), result

    return run


@pytest.fixture(scope="module")
def pair(advdetect, tmp_path_factory):
    """A trained pair, and what was printed."""
    folder = tmp_path_factory.mktemp("trained") / "pair"
    result = advdetect("train", *PAIR, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder, result


def test_people_get_a_line_an_epoch_and_a_table(pair):
    folder, result = pair
    card = json.loads((folder / "card.json").read_text())
    (line,) = result.stderr.splitlines()
    assert line.startswith("epoch 1/1: loss ")
    assert line.endswith("(last batch)")
    assert ", penalty 0." in line
    history = json.loads((folder / "history.jsonl").read_text())
    title, header, *rows, accuracy, where = result.stdout.splitlines()
    assert title.strip() == "Members on the evaluation split"
    assert header.split() == ["accuracy", "interval", "penalty"]
    for i, row in enumerate(rows):
        value = card["member_test_accuracy"][i]["value"]
        assert row.startswith(f"member {i}")
        assert f"{100 * value:.1f} %" in row
        assert row.rstrip().endswith(f"{history['penalty'][i]:.3f}")
    assert len(rows) == 2
    assert accuracy.startswith(f"accuracy {100 * card['test_accuracy']['value']:.1f} % [")
    assert accuracy.endswith("of 150 evaluation images")
    assert where == f"model in {folder}"


def test_what_was_trained_is_a_model(pair, advdetect, tmp_path):
    folder, _ = pair
    options = ["--data", "digits", "--split", "evaluation", "--limit", "20", "--suite", "quick"]
    result = advdetect("attack", folder, *options, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    model = load_model(str(folder))
    assert len(model.module) == 2


def test_the_same_command_again_says_the_same_and_trains_nothing(pair, advdetect):
    folder, first = pair
    again = advdetect("train", *PAIR, "--out", folder)
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    assert again.stderr == ""


def test_other_options_are_refused_by_name(pair, refused):
    folder, _ = pair
    error = f"{folder} holds a training with other weight, seed: give another --out, or the same"
    refused("train", *PAIR, "--weight", "2", "--seed", "3", "--out", folder, error=error)


def test_json_holds_the_summary(pair, advdetect):
    folder, _ = pair
    result = advdetect("train", *PAIR, "--out", folder, "--json")
    found = json.loads(result.stdout)
    card = json.loads((folder / "card.json").read_text())
    assert found == {
        "folder": str(folder),
        "accuracy": card["test_accuracy"],
        "members": card["member_test_accuracy"],
        "history": [json.loads((folder / "history.jsonl").read_text())],
    }


def test_the_mean_of_several_is_a_model_at_once(pair, advdetect, tmp_path):
    folder, first = pair
    starts = ["--start", folder, "--start", folder, "--members", "2", "--epochs", "0"]
    result = advdetect("train", *DIGITS, *starts, "--out", tmp_path / "mean")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    # Of the same model twice: itself.
    accuracy = result.stdout.splitlines()[-2]
    assert accuracy == first.stdout.splitlines()[-2]
    assert "member 1" in result.stdout
    assert "penalty" not in result.stdout


def test_one_network_needs_no_table(ready, tmp_path):
    card, result = ready(*DIGITS, *TINY)
    accuracy, where = result.stdout.splitlines()
    assert accuracy.startswith(f"accuracy {100 * card['test_accuracy']['value']:.1f} % [")
    assert where == f"model in {tmp_path / 'model'}"
    assert "penalty" not in result.stderr


def test_the_card_repeats_the_command(ready, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/advdetect", "train", "--out", "a b"])
    card, _ = ready(*DIGITS, *TINY)
    assert card["command"] == "advdetect train --out 'a b'"


def test_options_come_before_the_file(ready, tmp_path):
    file = tmp_path / "training.toml"
    file.write_text(
        'epochs = 9\nlearning-rate = 0.05\nmembers = 3\npenalty = "cka"\nlayers = ["last"]\n'
        "mirror = false\n[arguments]\nwidth = 2\nblocks = [1]\n"
    )
    options = ("--epochs", "1", "--members", "2", "--learning-rate", "0.1", "--penalty", "bits")
    card, _ = ready(*DIGITS, "--config", file, *options, "--set", "noise=0.1")
    recipe = card["recipe"]
    assert (recipe["epochs"], recipe["members"], recipe["penalty"]) == (1, 2, "bits")
    assert (recipe["learning_rate"], recipe["mirror"], recipe["noise"]) == (0.1, False, 0.1)
    assert recipe["layers"] == ["last"]
    assert recipe["arguments"] == {"width": 2, "blocks": [1]}


def test_options_complete_a_file_that_alone_would_be_refused(ready, refused, tmp_path):
    file = tmp_path / "training.toml"
    file.write_text('penalty = "dcor"\n')
    error = "the penalty dcor compares members: train at least 2, got 1"
    refused("train", *DIGITS, *TINY, "--config", file, "--out", tmp_path / "no", error=error)
    card, _ = ready(*DIGITS, *TINY, "--config", file, "--members", "2")
    assert card["recipe"]["penalty"] == "dcor"


def test_every_option_reaches_the_recipe(ready, small_model):
    options = {
        "--network": "vgg",
        "--adversarial": "fgsm",
        "--eps": "4/255",
        "--given": str(small_model),
        "--weight": "0.5",
        "--layers": "penultimate",
        "--learning-rate": "0.01",
        "--precision": "bfloat16",
        "--seed": "3",
    }
    arguments = [part for option in options.items() for part in option]
    tiny = ("--set", "arguments.convolutions=[1]", "--set", "arguments.width=2", "--epochs", "1")
    card, result = ready(*DIGITS, *arguments, *tiny)
    recipe = card["recipe"]
    assert recipe["eps"] == pytest.approx(4 / 255)
    for name, value in options.items():
        if name != "--eps":
            found = recipe[name.removeprefix("--").replace("-", "_")]
            assert found == value or found == [value] or float(value) == found
    assert card["seed"] == 3
    assert ", penalty " in result.stderr  # what is known beyond the given model


def test_a_label_embedding_stands_for_the_labels(ready, tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(10.0)[:, None])
    options = (*DIGITS, *TINY, "--members", "2", "--penalty", "partial-dcor", "--weight", "5")
    embedded = ("--label-embedding", tmp_path / "rows.npy")
    ready(*options, *embedded, out=tmp_path / "rows")
    ready(*options, out=tmp_path / "one-hot")
    weights = [load_model(str(tmp_path / name)).module.state_dict() for name in ("rows", "one-hot")]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--penalty", "mmd", "--members", "2"], "no penalty named 'mmd', choose from: dcor, unb"),
        (["--adversarial", "cw"], "no adversary named 'cw', choose from: fgsm, n-fgsm, pgd, tra"),
        (["--precision", "int8"], "no precision named 'int8', choose from: float32, bfloat16"),
        (["--penalty", "dcor"], "the penalty dcor compares members: train at least 2, got 1"),
        (["--members", "0"], "members must be at least 1, got 0"),
        (["--eps", "much"], "expected an eps such as 0.1 or 8/255, got 'much'"),
        (["--set", "depth=3"], "depth=3: unknown key 'depth', known are: network, arguments, "),
        (["--set", "depth"], "expected name=value, got 'depth'"),
        (
            ["--network", "lenet"],
            "no network named 'lenet', choose from: resnet, pooled-resnet, tiny-10, vgg",
        ),
        (["--network", "nothing:make"], "cannot import nothing:make: No module named 'nothing'"),
        (["--given", "nothing"], "no model named 'nothing', shipped are: "),
        (["--start", "nothing"], "no model named 'nothing', shipped are: "),
        (["--set", "arguments.depth=3"], "cannot build the network 'resnet' as described: "),
        (["--layers", "last"], "layers are what a penalty compares: name a penalty"),
        (["--label-embedding", "nothing.npy"], "no file nothing.npy"),
        (["--config", "nothing.toml"], "no file nothing.toml"),
        (
            ["--members", "2", "--penalty", "dcor", "--layers", "conv9"],
            "no layer fits 'conv9', choose from: penultimate, last, relu, stages.0.0.relu1, ",
        ),
        (["--split", "train"], "digits: no split with pictures named 'train', choose from: "),
        (["--data", "nothing"], "no data set, folder or file named 'nothing', choose"),
    ],
)
def test_says_what_is_wrong_and_leaves_no_folder(refused, tmp_path, arguments, error):
    refused("train", *DIGITS, *arguments, "--out", tmp_path / "model", error=error)
    assert not (tmp_path / "model").exists()


def test_a_training_that_diverges_says_so_in_a_line(advdetect, tmp_path):
    options = ("--set", "weight_decay=1e4", "--learning-rate", "1e30")
    result = advdetect("train", *DIGITS, *TINY, *options, "--out", tmp_path / "model")
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: training diverged in epoch 1: the loss became ")
    assert "no epoch was finished. Lower the learning rate or the penalty's weight" in last
    assert not (tmp_path / "model" / "card.json").exists()


def test_paths_that_hold_something_else_are_refused(refused, small_model, tmp_path):
    refused(
        "train", *DIGITS, "--out", small_model, error=f"{small_model} holds a model that was not"
    )
    file = tmp_path / "file"
    file.touch()
    refused("train", *DIGITS, "--out", file, error=f"{file} is a file: --out expects a folder")
    file.write_text("epochs: 3")
    options = ("--config", file, "--out", tmp_path / "model")
    refused("train", *DIGITS, *options, error=f"{file} is no TOML: ")
