"""Folders of pictures: classes, parts, splits, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from advdetect.data import load
from advdetect.errors import FileError, InputError


def saved(path, *, size=(4, 4), colour=False, level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if colour else size
    Image.fromarray(np.full(shape, level, np.uint8)).save(path)


def filled(root, *folders, n=10):
    """Pictures whose grey level counts them, in the order of their paths."""
    for i, folder in enumerate(sorted(folders)):
        for j in range(n):
            saved(root / folder / f"{j:03}.png", level=i * n + j)
    return root


def levels(pictures):
    return (pictures.images[:, 0, 0, 0] * 255).round().int().tolist()


def test_classes_are_folders_and_the_index_counts_all_pictures(tmp_path):
    root = filled(tmp_path, "10", "9", "cat/brown", "cat/white")
    parts = [load(root, split=split) for split in ("reference", "calibration", "evaluation")]
    assert [len(part) for part in parts] == [20, 8, 12]
    for part in parts:
        assert part.classes == ("10", "9", "cat")  # sorted as torchvision sorts them
        assert levels(part) == part.index.tolist()
        assert part.labels.tolist() == [min(index // 10, 2) for index in part.index.tolist()]
    assert sorted(row for part in parts for row in part.index.tolist()) == list(range(40))


@pytest.mark.parametrize("split", ["reference", "calibration", "evaluation", "train"])
def test_the_first_pictures_of_a_split_are_of_all_classes(tmp_path, split):
    """Whoever takes a few from the start, as fitting and evaluation do, has to get all kinds."""
    classes = [f"{part}/{name}" for part in ("train", "test") for name in "abc"]
    found = load(filled(tmp_path, *classes, n=40), split=split)
    counts = found.labels[: len(found) // 3].bincount(minlength=3)
    assert (counts >= 2).all()
    assert levels(found) == found.index.tolist()


def test_loading_twice_gives_the_same(tmp_path):
    root = filled(tmp_path, "a", "b")
    once, twice = (load(root, split="reference") for _ in range(2))
    assert once.fingerprint == twice.fingerprint


def test_a_limit_takes_all_classes_and_decodes_nothing_else(tmp_path):
    root = filled(tmp_path, "a", "b", n=40)
    few = load(root, split="evaluation", limit=8)
    assert len(few) == 8
    assert set(few.labels.tolist()) == {0, 1}
    assert set(few.index.tolist()) <= set(load(root, split="evaluation").index.tolist())
    kept = set(few.index.tolist())
    for row in set(range(80)) - kept:
        (root / "ab"[row // 40] / f"{row % 40:03}.png").write_text("broken")
    assert load(root, split="evaluation", limit=8).fingerprint == few.fingerprint


def test_a_limit_beyond_the_split_takes_all_of_it(tmp_path):
    assert len(load(filled(tmp_path, "a"), split="evaluation", limit=99)) == 3


def test_a_test_folder_is_evaluation(tmp_path):
    root = filled(tmp_path, "test/a", "test/b", "train/a", "train/b", n=7)
    splits = {name: load(root, split=name) for name in ("reference", "calibration", "evaluation")}
    assert {name: len(part) for name, part in splits.items()} == {
        "reference": 10,
        "calibration": 4,
        "evaluation": 14,
    }
    pooled = levels(splits["reference"]) + levels(splits["calibration"])
    assert sorted(pooled) == list(range(14, 28))
    assert sorted(levels(splits["evaluation"])) == list(range(14))
    assert sorted(levels(load(root, split="train"))) == list(range(14, 28))
    assert load(root, split="test").fingerprint == splits["evaluation"].fingerprint


def test_folders_named_after_the_splits(tmp_path):
    root = filled(tmp_path, "reference/a", "reference/b", "calibration/a", "evaluation/b", n=3)
    assert sorted(levels(load(root, split="calibration"))) == [0, 1, 2]
    evaluation = load(root, split="evaluation")
    assert sorted(levels(evaluation)) == [3, 4, 5]
    assert evaluation.labels.tolist() == [1, 1, 1]
    assert len(load(root, split="reference")) == 6


def test_held_out_calibration_beside_train_and_test(tmp_path):
    root = filled(tmp_path, "train/a", "calibration/a", "test/a", n=3)
    assert levels(load(root, split="reference")) == levels(load(root, split="train"))
    assert sorted(levels(load(root, split="calibration"))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("folders", "split", "message"),
    [
        (["a"], "train", "no split with pictures named 'train', choose from: reference, calib"),
        (["calibration/a"], "reference", "named 'reference', choose from: calibration"),
        (["train/a", "val/a"], "reference", r"holds val beside train: rename these after"),
        (["test/a", "evaluation/a"], "test", "holds both test and evaluation"),
    ],
)
def test_refuses_a_split_that_is_not_there(tmp_path, folders, split, message):
    root = filled(tmp_path, *folders)
    with pytest.raises(InputError, match=message):
        load(root, split=split)


def test_refuses_an_empty_folder(tmp_path):
    with pytest.raises(FileError, match="expected one folder of pictures per class, found no"):
        load(tmp_path, split="reference")


def test_refuses_a_class_without_pictures(tmp_path):
    (filled(tmp_path, "a") / "b").mkdir()
    with pytest.raises(FileError, match="b: no picture in this class folder"):
        load(tmp_path, split="reference")


def test_a_damaged_picture_is_named(tmp_path):
    root = filled(tmp_path, "evaluation/a", n=3)
    (root / "evaluation" / "a" / "001.png").write_text("broken")
    with pytest.raises(FileError, match=r"a.001\.png: no picture of a known format"):
        load(root, split="evaluation")


def test_other_sizes_need_resize(tmp_path):
    root = filled(tmp_path, "reference/a", n=2)
    saved(root / "reference" / "a" / "x.png", size=(6, 8))
    message = (
        r"reference.a.x\.png: is 6 x 8 pixels \(height x width\), expected 4 x 4 as in "
        r"reference.a.000\.png: ask for one size \(resize=, --resize\)"
    )
    with pytest.raises(InputError, match=message):
        load(root, split="reference")
    assert load(root, split="reference", resize=(5, 7)).shape == (1, 5, 7)


def test_other_channels_need_channels(tmp_path):
    root = filled(tmp_path, "reference/a", n=2)
    saved(root / "reference" / "a" / "x.png", colour=True, level=255)
    message = r"x\.png: has 3 channels, expected 1 as in .*000\.png: ask for 1 or 3 of them"
    with pytest.raises(InputError, match=message):
        load(root, split="reference")
    assert load(root, split="reference", channels=3).shape == (3, 4, 4)
    assert sorted(levels(load(root, split="reference", channels=1))) == [0, 1, 255]
