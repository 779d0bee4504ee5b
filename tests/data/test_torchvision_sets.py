"""Torchvision's sets, read from files or stand-ins: nothing here needs a network."""

from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from advdetect import vision
from advdetect.data import load, torchvision_sets
from advdetect.errors import FileError


def idx(array):
    header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A tiny MNIST as torchvision keeps it: 14 training and 3 test pictures."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, first, n in (("train", 0, 14), ("t10k", 100, 3)):
        levels = np.arange(first, first + n)
        images = np.broadcast_to(levels[:, None, None], (n, 28, 28))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    return tmp_path


def levels(pictures):
    return (pictures.images[:, 0, 0, 0] * 255).round().int().tolist()


def test_the_test_part_is_evaluation(mnist):
    splits = {
        name: load("mnist", split=name, data_root=mnist)
        for name in ("reference", "calibration", "evaluation", "train", "test")
    }
    assert {name: len(part) for name, part in splits.items()} == {
        "reference": 10,
        "calibration": 4,
        "evaluation": 3,
        "train": 14,
        "test": 3,
    }
    pooled = levels(splits["reference"]) + levels(splits["calibration"])
    assert sorted(pooled) == sorted(levels(splits["train"])) == list(range(14))
    assert sorted(levels(splits["evaluation"])) == [100, 101, 102]
    assert splits["reference"].index.tolist() == levels(splits["reference"])
    for level, row, label in zip(
        levels(splits["evaluation"]),
        splits["evaluation"].index.tolist(),
        splits["evaluation"].labels.tolist(),
        strict=True,
    ):
        assert (row, label) == (60_000 + level - 100, level - 100)
    assert splits["evaluation"].classes[3] == "3 - three"


def test_reading_says_nothing(mnist, capfd):
    load("mnist", split="test", data_root=mnist)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "attributes", "start"),
    [
        (
            "cifar10",
            {"data": np.full((4, 32, 32, 3), 51, np.uint8), "targets": [0, 1, 2, 3]},
            50_000,
        ),
        (
            "svhn",
            {"data": np.full((4, 3, 32, 32), 51, np.uint8), "labels": np.arange(4)},
            73_257,
        ),
    ],
)
def test_colour_sets(monkeypatch, tmp_path, name, attributes, start):
    asked = []

    def dataset(root, **options):
        asked.append((root, options))
        return SimpleNamespace(**attributes)

    monkeypatch.setattr(vision.torchvision().datasets, name.upper(), dataset)
    test = load(name, split="test", data_root=tmp_path)
    torch.testing.assert_close(test.images, torch.full((4, 3, 32, 32), 0.2))
    assert sorted(test.labels.tolist()) == [0, 1, 2, 3]
    assert (test.index - start).tolist() == test.labels.tolist()
    assert test.classes == ("0", "1", "2", "3")
    part = {"split": "test"} if name == "svhn" else {"train": False}
    assert asked == [(str(tmp_path), part | {"download": True})]


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("corrupted"), ValueError()])
def test_says_what_to_do_without_a_network(monkeypatch, tmp_path, error):
    def dataset(root, **options):
        raise error

    monkeypatch.setattr(vision.torchvision().datasets, "CIFAR10", dataset)
    message = "CIFAR10 is missing or damaged in .*, and cannot be downloaded: connect .*--data-root"
    with pytest.raises(FileError, match=message):
        load("cifar10", split="reference", data_root=tmp_path)


def test_notes_go_to_a_terminal_alone(monkeypatch, capsys):
    with torchvision_sets._quiet():
        print("a note")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with torchvision_sets._quiet():
        print("a note")
    assert capsys.readouterr() == ("", "a note\n")


def test_the_cache_follows_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert torchvision_sets.cache_folder() == tmp_path / "advdetect" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert torchvision_sets.cache_folder() == tmp_path / ".cache" / "advdetect" / "data"
