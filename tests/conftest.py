"""A small network, trained on digits within seconds, and a guard of it, shared by many tests."""

import gc
import warnings

import pytest
import torch
from torch.nn.functional import cross_entropy

from advdetect import data, storage
from advdetect.attacks import attack
from advdetect.guard import Guard
from advdetect.networks import build, load_model

ARCHITECTURE = {
    "kind": "network",
    "name": "resnet",
    "arguments": {"mean": [0.3], "std": [0.375], "classes": 10, "width": 4, "blocks": [1, 1]},
}


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A model's folder: a residual network of 5 ReLUs, right on most digits."""
    folder = tmp_path_factory.mktemp("models") / "small"
    digits = data.load("digits", split="reference")
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        module = build(ARCHITECTURE)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
        for _ in range(6):
            for rows in torch.randperm(len(digits)).split(50):
                optimizer.zero_grad()
                cross_entropy(module(digits.images[rows]), digits.labels[rows]).backward()
                optimizer.step()
    sha256 = storage.save_tensors(folder / "weights.safetensors", module.state_dict())
    card = {
        "schema": 1,
        "network": ARCHITECTURE,
        "input": {"shape": [1, 8, 8]},
        "classes": list(digits.classes),
        "sha256": {"weights.safetensors": sha256},
    }
    storage.write_json(folder / "card.json", card)
    return folder


@pytest.fixture(scope="session")
def small(small_model):
    """The same, loaded; whoever changes it loads another."""
    return load_model(str(small_model))


@pytest.fixture(scope="session")
def digits():
    """Digits by split."""
    return {name: data.load("digits", split=name) for name in data.SPLITS[:3]}


@pytest.fixture(scope="session")
def small_attacks(small, digits):
    """The suite ``quick`` on reference digits, some of which hold and some of which do not."""
    some = digits["reference"].subset(range(150))
    return attack(small.module, some.images, some.labels, suite="quick")


@pytest.fixture(scope="session")
def small_guard(small, digits, small_attacks):
    """A guard of the small model; not to be changed."""
    guard = Guard.fit(
        small.module,
        digits["reference"].images,
        small_attacks,
        calibration_images=digits["calibration"].images,
        false_alarm_rate=0.05,
    )
    guard.architecture = small.architecture
    guard.about |= {"model": "small", "data": "digits", "classes": list(small.classes)}
    return guard


@pytest.fixture(scope="session")
def small_guard_folder(small_guard, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guards") / "small"
    small_guard.save(folder)
    return folder


@pytest.fixture(scope="module")
def ray():
    """Ray, whose unclosed files and processes are collected here and not in a later test."""
    yield pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
