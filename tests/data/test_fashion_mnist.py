"""The embedded test split, and the ways to the training split."""

import gzip
import shutil
import struct

import numpy as np
import pytest
import torch

from advdetect.data import fashion_mnist, load, torchvision_sets
from advdetect.errors import FileError


def idx(array):
    """Bytes in the idx format."""
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def training_files(folder, *, packed=True, n=20):
    folder.mkdir(parents=True, exist_ok=True)
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 28, 28))
    for name, array in (
        ("train-images-idx3-ubyte", images),
        ("train-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8)),
    ):
        content = idx(array)
        file = folder / (f"{name}.gz" if packed else name)
        file.write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No package, no cache, no network."""

    def fail(name, root, *, train):
        raise FileError("no network")

    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(fashion_mnist, "fetch", fail)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_embedded_split_holds_a_thousand_of_each_class():
    test = load("fashion-mnist", split="test")
    assert test.images.shape == (10_000, 1, 28, 28)
    assert test.labels.bincount().tolist() == [1000] * 10
    assert test.index.tolist() == list(range(10_000))
    # The published order: ankle boot, pullover, trouser, trouser, shirt.
    assert [test.classes[label] for label in test.labels[:5]] == [
        *("Ankle boot", "Pullover", "Trouser", "Trouser", "Shirt")
    ]
    assert test.images.min() == 0
    assert test.images.max() == 1
    assert test.images.mean().item() == pytest.approx(0.2868, abs=1e-4)


def test_splits_are_row_numbers():
    rows = {
        split: load("fashion-mnist", split=split).index
        for split in ("reference", "calibration", "evaluation")
    }
    assert torch.equal(rows["reference"], torch.arange(5_000))
    assert torch.equal(rows["calibration"], torch.arange(5_000, 7_000))
    assert torch.equal(rows["evaluation"], torch.arange(7_000, 10_000))


def test_a_limit_takes_the_first():
    assert load("fashion-mnist", split="evaluation", limit=3).index.tolist() == [7000, 7001, 7002]


def test_a_changed_byte_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "files"
    shutil.copytree(fashion_mnist.EMBEDDED, folder)
    monkeypatch.setattr(fashion_mnist, "EMBEDDED", folder)
    path = folder / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[1_000_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"images-idx3-ubyte\.gz: is not the published file .*inst"):
        load("fashion-mnist", split="evaluation")
    path.unlink()
    with pytest.raises(FileError, match=r"idx3-ubyte\.gz: No such file .* install advdetect again"):
        load("fashion-mnist", split="evaluation")


@pytest.mark.parametrize("place", ["root", "root/FashionMNIST/raw", "debian", "cache"])
@pytest.mark.parametrize("packed", [True, False])
def test_the_training_split_is_found(nowhere, place, packed):
    folder = "cache/advdetect/data/FashionMNIST/raw" if place == "cache" else place
    training_files(nowhere / folder, packed=packed)
    root = None if place in ("debian", "cache") else nowhere / "root"
    train = load("fashion-mnist", split="train", data_root=root)
    assert (train.images[:, 0, 5, 5] * 255).round().tolist() == list(range(20))
    assert train.labels.tolist() == list(range(10)) * 2
    assert train.index.tolist() == list(range(10_000, 10_020))  # goes on from the test split


def test_the_training_split_is_fetched_at_last(nowhere, monkeypatch):
    pixels, labels = np.zeros((2, 1, 28, 28), np.uint8), np.array([3, 4])
    monkeypatch.setattr(fashion_mnist, "fetch", lambda name, root, train: (pixels, labels, ()))
    assert load("fashion-mnist", split="train").labels.tolist() == [3, 4]


def test_the_training_split_is_read_by_torchvision_too(tmp_path):
    training_files(tmp_path / "FashionMNIST" / "raw", packed=False)
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / "FashionMNIST" / "raw" / name).touch()
    pixels, labels, classes = torchvision_sets.fetch("FashionMNIST", tmp_path, train=True)
    assert pixels[:, 0, 0, 0].tolist() == list(range(20))
    assert labels.tolist() == list(range(10)) * 2
    assert classes == fashion_mnist.CLASSES


def test_says_how_to_get_the_training_split(nowhere):
    message = (
        r"training split of fashion-mnist is not in .*root or .*debian, and cannot be "
        r"downloaded: run 'apt install dataset-fashion-mnist', or give .*--data-root"
    )
    with pytest.raises(FileError, match=message):
        load("fashion-mnist", split="train", data_root=nowhere / "root")
    with pytest.raises(FileError, match="not in .*debian or .*cache/advdetect/data, and"):
        load("fashion-mnist", split="train")


@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b"text"), gzip.compress(idx(np.zeros(9, np.uint8))[:-1])],
    ids=["empty", "text", "packed text", "truncated"],
)
def test_says_that_a_training_file_is_damaged(nowhere, content):
    training_files(nowhere / "root")
    (nowhere / "root" / "train-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(FileError, match=r"labels-idx1-ubyte\.gz: damaged, or no idx file"):
        load("fashion-mnist", split="train", data_root=nowhere / "root")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(19, np.uint8), r"expected \(n, 28, 28\) .* got \(20, 28, 28\) and \(19,\)"),
        (np.full(20, 10, np.uint8), "expected labels from 0 to 9, got 10"),
    ],
)
def test_says_that_training_files_do_not_fit(nowhere, labels, message):
    training_files(nowhere / "root")
    file = nowhere / "root" / "train-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(FileError, match=message):
        load("fashion-mnist", split="train", data_root=nowhere / "root")
