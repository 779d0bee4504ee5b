"""Names, splits and options of ``load``, whatever the data."""

import pytest

from advdetect.data import DATASETS, load
from advdetect.errors import FileError, InputError


def test_names():
    assert list(DATASETS) == ["fashion-mnist", "digits", "mnist", "cifar10", "svhn"]


@pytest.mark.parametrize("name", ["fashion-mnist", "digits"])
def test_splits_never_share_a_picture_and_a_limit_takes_a_part_of_its_split(name):
    seen = set()
    for split in ("reference", "calibration", "evaluation"):
        part = load(name, split=split)
        rows = set(part.index.tolist())
        assert len(rows) == len(part)
        assert not rows & seen
        seen |= rows
        few = load(name, split=split, limit=50)
        assert few.index.tolist() == part.index[:50].tolist()
        assert len(few.labels.unique()) == 10


def test_resize_and_channels():
    part = load("digits", split="evaluation", limit=2, resize=(28, 20), channels=3)
    assert part.shape == (3, 28, 20)
    assert part.images.is_contiguous()


def test_a_name_wins_over_a_folder_of_that_name_but_a_path_does_not(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(load("digits", split="evaluation", limit=1)) == 1
    with pytest.raises(FileError, match="digits: expected one folder of pictures per class"):
        load("./digits", split="evaluation")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "no split named 'valid', choose from: reference, calibration, eval"),
        ({"split": "train"}, "digits: no split with pictures named 'train', choose from: ref"),
        ({"limit": 0}, "the limit must be at least 1 picture, got 0"),
        ({"resize": (0, 8)}, r"expected a size of \(height, width\) in pixels, got \(0, 8\)"),
        ({"channels": 4}, r"expected 1 channel \(grey\) or 3 \(colour\), got 4"),
    ],
)
def test_says_what_is_wrong_with_an_option(options, message):
    with pytest.raises(InputError, match=message):
        load("digits", **({"split": "reference"} | options))


def test_says_that_there_is_no_such_data():
    message = "no data set, folder or file named 'fashion', choose from: fashion-mnist, digits, mn"
    with pytest.raises(FileError, match=message):
        load("fashion", split="reference")


def test_says_what_kind_of_file_is_expected(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="expected a folder with a folder per class, or an .npz"):
        load(tmp_path / "a.txt", split="reference")
