"""Archives of arrays: the forms that are taken, and what is refused."""

import numpy as np
import pytest

from advdetect.data import load
from advdetect.errors import FileError, InputError

N = 10
LEVELS = np.arange(N, dtype=np.uint8)


def saved(folder, **arrays):
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def pictures(shape, dtype=np.uint8):
    return np.broadcast_to(LEVELS.reshape(N, 1, 1, 1), (N, *shape)).astype(dtype)


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (pictures((1, 4, 5))[:, 0], (1, 4, 5)),
        (pictures((1, 4, 5)), (1, 4, 5)),
        (pictures((4, 5, 1)), (1, 4, 5)),
        (pictures((3, 4, 5)), (3, 4, 5)),
        (pictures((4, 5, 3)), (3, 4, 5)),
        (pictures((4, 5, 3), np.float64) / 255, (3, 4, 5)),
        (pictures((4, 5, 3), np.uint16) * np.uint16(257), (3, 4, 5)),
    ],
)
def test_forms(tmp_path, images, shape):
    path = saved(tmp_path, images=images, labels=np.arange(N) % 2)
    rows = []
    for split, n in (("reference", 5), ("calibration", 2), ("evaluation", 3)):
        part = load(path, split=split)
        assert (len(part), part.shape, part.classes) == (n, shape, ("0", "1"))
        assert (part.images[:, 0, 0, 0] * 255).round().tolist() == part.index.tolist()
        assert part.labels.tolist() == [row % 2 for row in part.index.tolist()]
        rows += part.index.tolist()
    assert sorted(rows) == list(range(N))


def test_class_names(tmp_path):
    names = np.array(["cat", "dog", "owl"])
    path = saved(tmp_path, images=pictures((1, 4, 4)), labels=np.arange(N) % 2, classes=names)
    assert load(str(path), split="reference").classes == ("cat", "dog", "owl")


def test_resize_and_channels(tmp_path):
    path = saved(tmp_path, images=pictures((1, 4, 4)), labels=np.arange(N))
    part = load(path, split="evaluation", resize=(6, 2), channels=3)
    assert part.shape == (3, 6, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": pictures((1, 4, 4)).astype(float)}, r"must lie in \[0, 1\], got \[1, 9\]"),
        ({"images": np.full((N, 4, 4), np.nan)}, "pixels must be finite"),
        ({"images": pictures((1, 4, 4)).astype(int)}, "uint8, uint16 or float .* got int64"),
        ({"images": np.zeros((N, 2, 4, 4))}, r"got an array of shape \(10, 2, 4, 4\)"),
        ({"images": np.zeros((0, 4, 4)), "labels": np.zeros(0, int)}, "got none"),
        ({"labels": np.arange(N - 1)}, r"expected 10 labels, one per image, got shape \(9,\)"),
        ({"labels": np.zeros((N, 1), int)}, r"got shape \(10, 1\)"),
        ({"labels": np.zeros(N)}, "expected integer labels, got float64"),
        ({"labels": np.arange(N) - 1}, "labels must run from 0, got -1 to 8"),
        ({"classes": np.array(["a", "b"])}, "labels must run from 0 to 1, got 0 to 9"),
    ],
)
def test_says_what_is_wrong(tmp_path, change, message):
    path = saved(tmp_path, **({"images": pictures((1, 4, 4)), "labels": np.arange(N)} | change))
    with pytest.raises(InputError, match=rf"set\.npz: .*{message}"):
        load(path, split="reference")


def test_says_what_is_missing(tmp_path):
    path = saved(tmp_path, images=pictures((1, 4, 4)))
    with pytest.raises(FileError, match=r"set\.npz: has no array 'labels', it holds: images"):
        load(path, split="reference")


def test_says_that_it_is_damaged(tmp_path):
    (tmp_path / "set.npz").write_text("no archive")
    with pytest.raises(FileError, match=r"set\.npz: cannot be read as an array file"):
        load(tmp_path / "set.npz", split="reference")
