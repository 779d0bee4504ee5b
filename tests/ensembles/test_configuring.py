"""One description of a training, from options, assignments or TOML."""

import json
import math

import pytest

from advdetect.ensembles import TrainingConfig, assign, read_toml
from advdetect.errors import FileError, InputError

EVERYTHING = TrainingConfig(
    network="vgg",
    arguments={"width": 4, "convolutions": [1, 1]},
    members=3,
    penalty="bits",
    weight=0.5,
    layers=("stages.*", "last"),
    against="predecessors",
    adversarial="trades",
    eps=0.1,
    steps=3,
    stride=0.5,
    clean_share=0.25,
    beta=2.0,
    epochs=2,
    batch=32,
    optimizer="muon",
    learning_rate=0.1,
    weight_decay=0.001,
    label_smoothing=0.1,
    shift=1,
    mirror=False,
    noise=0.05,
    cutout=4,
    precision="bfloat16",
    seed=7,
)


@pytest.mark.parametrize(
    "config", [TrainingConfig(), EVERYTHING, TrainingConfig(given="small", layers=("last",))]
)
def test_json_builds_the_same_again(config):
    written = json.loads(json.dumps(config.to_json(), allow_nan=False))
    assert TrainingConfig.of(written, "a card") == config


def test_toml_builds_what_it_says(tmp_path):
    file = tmp_path / "training.toml"
    file.write_text(
        'members = 2\npenalty = "partial-dcor"\nlearning-rate = 1\nlayers = "last"\n'
        "mirror = false\n[arguments]\nwidth = 4\nblocks = [1, 1]\n"
    )
    found = TrainingConfig.of(read_toml(file), str(file))
    assert found == TrainingConfig(
        members=2,
        penalty="partial-dcor",
        learning_rate=1.0,
        layers=("last",),
        mirror=False,
        arguments={"width": 4, "blocks": [1, 1]},
    )
    assert isinstance(found.learning_rate, float)


def test_hyphens_count_as_underscores():
    found = TrainingConfig.of({"weight-decay": 0.1, "label-smoothing": 0.5}, "here")
    assert (found.weight_decay, found.label_smoothing) == (0.1, 0.5)


def test_the_last_of_two_spellings_counts():
    values = {"learning-rate": 0.1} | {"learning_rate": 0.3}
    assert TrainingConfig.of(values, "here").learning_rate == 0.3


def test_what_may_be_missing_may_be_none():
    values = dict.fromkeys(("penalty", "adversarial", "given", "steps", "stride"))
    assert TrainingConfig.of(values, "here") == TrainingConfig()


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("weight_decay=0.002", "weight_decay", 0.002),
        ("weight-decay = 1e-3", "weight_decay", 0.001),
        ("epochs=3", "epochs", 3),
        ("mirror=false", "mirror", False),
        ("network=vgg", "network", "vgg"),  # without quotation marks
        ("network='vgg'", "network", "vgg"),
        ("network=my_models:make", "network", "my_models:make"),
        ("adversarial=pgd", "adversarial", "pgd"),
        ("arguments.width=8", "arguments", {"width": 8, "blocks": [1]}),
        ("arguments.blocks=[2, 2]", "arguments", {"width": 4, "blocks": [2, 2]}),
        ("arguments={stride = 2}", "arguments", {"stride": 2}),
    ],
)
def test_assigned_values_are_toml_or_text(text, name, value):
    before = TrainingConfig(arguments={"width": 4, "blocks": [1]})
    found = TrainingConfig.of(assign(before.to_json(), [text]), "test")
    assert found.to_json() == before.to_json() | {name: value}
    assert before.arguments == {"width": 4, "blocks": [1]}  # the old one is as it was


@pytest.mark.parametrize("text", ["epochs", "", "=3"])
def test_an_assignment_has_a_name_and_a_value(text):
    with pytest.raises(InputError, match=f"expected name=value, got '{text}'"):
        assign({}, [text])


def test_an_assignment_names_itself_where_it_is_wrong():
    with pytest.raises(InputError, match="^depth=3: unknown key 'depth', known are: network, arg"):
        assign({}, ["depth=3"])
    with pytest.raises(InputError, match="^eps=8/255: expected a number for eps, got '8/255'"):
        assign({}, ["eps=8/255"])


def test_unknown_keys_are_refused_by_name():
    message = "train.toml: unknown key 'penalties', known are: network, arguments, members, pena"
    with pytest.raises(InputError, match=message):
        TrainingConfig.of({"epochs": 3, "penalties": "dcor"}, "train.toml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"penalty": 3}, "here: expected text for penalty, got 3"),
        ({"epochs": 2.5}, "here: expected a whole number for epochs, got 2.5"),
        ({"epochs": True}, "here: expected a whole number for epochs, got True"),
        ({"epochs": None}, "here: expected a whole number for epochs, got None"),
        ({"steps": "3"}, "here: expected a whole number for steps, got '3'"),
        ({"weight": "much"}, "here: expected a number for weight, got 'much'"),
        ({"stride": False}, "here: expected a number for stride, got False"),
        ({"mirror": 1}, "here: expected true or false for mirror, got 1"),
        ({"layers": 3}, "here: expected a list of names for layers, got 3"),
        ({"arguments": [1]}, r"here: expected a table for arguments, got \[1\]"),
    ],
)
def test_says_which_type_was_expected(values, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig.of(values, "here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"penalty": "mmd"}, "no penalty named 'mmd', choose from: dcor, unbiased-dcor, partial-"),
        ({"adversarial": "cw"}, "no adversary named 'cw', choose from: fgsm, n-fgsm, pgd, trades"),
        ({"against": "none"}, "no way to compare members named 'none', choose from: all, predec"),
        ({"optimizer": "adam"}, "no optimizer named 'adam', choose from: sgd, muon"),
        ({"precision": "int8"}, "no precision named 'int8', choose from: float32, bfloat16"),
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch": -1}, "batch must be at least 1, got -1"),
        ({"shift": -1}, "shift must be at least 0, got -1"),
        ({"cutout": -1}, "cutout must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"weight": -1.0}, "weight must be finite and not negative, got -1.0"),
        ({"eps": math.nan}, "eps must be finite and not negative, got nan"),
        ({"stride": math.inf}, "stride must be finite and not negative, got inf"),
        ({"beta": -0.1}, "beta must be finite and not negative, got -0.1"),
        ({"learning_rate": math.inf}, "learning_rate must be finite and not negative, got inf"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and not negative, got -1.0"),
        ({"noise": -1.0}, "noise must be finite and not negative, got -1.0"),
        ({"clean_share": 1.0}, "clean_share must be at least 0 and below 1, got 1.0"),
        ({"label_smoothing": math.nan}, "label_smoothing must be at least 0 and below 1, got nan"),
        ({"penalty": "dcor"}, "the penalty dcor compares members: train at least 2, got 1"),
        ({"given": "m", "members": 2}, "a given model conditions one network: no more members"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1, got 1.0"),
        ({"warm_up": 1.0}, "warm_up must be at least 0 and below 1, got 1.0"),
        (
            {"alternate": True, "mirror": False},
            "alternate says which pictures are mirrored, and mirror is false",
        ),
        ({"steps": 3}, "steps, stride and clean_share are of adversarial training: name one"),
        ({"layers": "last"}, "expected a tuple of names for layers, got 'last'"),
        ({"start": "pair", "epochs": 0}, "expected a tuple of names for start, got 'pair'"),
        ({"start": ("pair",), "epochs": -1}, "epochs must be at least 0, got -1"),
        ({"layers": ("last",)}, "layers are what a penalty compares: name a penalty"),
    ],
)
def test_says_what_is_out_of_range_or_contradicts(values, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**values)


def test_files_that_are_missing_or_no_toml_are_named(tmp_path):
    file = tmp_path / "training.toml"
    with pytest.raises(FileError, match=r"^no file .*training.toml$"):
        read_toml(file)
    file.write_text("epochs: 3")
    with pytest.raises(FileError, match="training.toml is no TOML: Expected"):
        read_toml(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="training.toml is no TOML: 'utf-8' codec"):
        read_toml(file)
