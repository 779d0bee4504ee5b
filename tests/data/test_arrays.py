"""What the axes and the numbers of an array of pictures mean."""

import numpy as np
import pytest
import torch

from advdetect.data.arrays import as_batch, read_arrays, to_pixels
from advdetect.errors import FileError, InputError

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ((5, 28, 28), None, (5, 1, 28, 28)),
        ((5, 28, 28, 1), None, (5, 1, 28, 28)),
        ((5, 1, 28, 28), None, (5, 1, 28, 28)),
        ((5, 32, 32, 3), None, (5, 3, 32, 32)),
        ((5, 3, 32, 32), None, (5, 3, 32, 32)),
        ((3, 32, 32), None, (3, 1, 32, 32)),
        ((28, 28), GREY, (1, 1, 28, 28)),
        ((1, 28, 28), GREY, (1, 1, 28, 28)),
        ((28, 28, 1), GREY, (1, 1, 28, 28)),
        ((3, 28, 28), GREY, (3, 1, 28, 28)),
        ((3, 32, 32), COLOUR, (1, 3, 32, 32)),
        ((32, 32, 3), COLOUR, (1, 3, 32, 32)),
        ((3, 40, 40), COLOUR, (1, 3, 40, 40)),
        ((5, 32, 32), COLOUR, (5, 1, 32, 32)),
        ((32, 32, 1), COLOUR, (1, 1, 32, 32)),
        ((5, 32, 32, 3), COLOUR, (5, 3, 32, 32)),
        ((5, 4, 9, 9), (4, 9, 9), (5, 4, 9, 9)),
        ((5, 1, 8, 1), (1, 8, 1), (5, 1, 8, 1)),
    ],
)
def test_axes(given, wanted, expected):
    assert as_batch(np.zeros(given), wanted).shape == expected


def test_channels_that_come_last_are_moved_with_their_pixels():
    batch = np.random.default_rng(0).random((5, 4, 6, 3))
    assert (as_batch(batch) == batch.transpose(0, 3, 1, 2)).all()
    assert (as_batch(batch[0], COLOUR) == batch[:1].transpose(0, 3, 1, 2)).all()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((28, 28), None),
        ((7,), GREY),
        ((5, 1, 8, 3), None),
        ((5, 4, 8, 8), None),
        ((5, 4, 8, 8), GREY),
        ((1, 1, 1, 28, 28), GREY),
    ],
)
def test_axes_that_fit_nothing_or_two_things_are_refused(given, wanted):
    message = rf"expected pictures as .* got an array of shape \({given[0]},"
    with pytest.raises(InputError, match=message):
        as_batch(np.zeros(given), wanted)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.uint16), [0, 0.2, 1]),
        (np.array([0, 0.2, 1], np.float64), [0, 0.2, 1]),
        (np.array([0, 0.25, 1], np.float16), [0, 0.25, 1]),
        (np.array([0, 0.25, 1], ">f4"), [0, 0.25, 1]),
        (np.array([-1, 2, 1e300]), [-1, 2, float("inf")]),
    ],
)
def test_numbers(array, expected):
    pixels = to_pixels(array)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, torch.tensor(expected))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, bool, np.complex64])
def test_other_numbers_are_refused(dtype):
    with pytest.raises(InputError, match=rf"uint8, uint16 or float .* got {np.dtype(dtype)}"):
        to_pixels(np.zeros(3, dtype))


def test_reads_what_is_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.ones(3), labels=np.zeros(3), more=np.zeros(9))
    arrays = read_arrays(tmp_path / "a.npz", optional=("labels", "classes"))
    assert arrays.keys() == {"images", "labels"}


def test_maps_a_plain_array(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(4))
    images = read_arrays(tmp_path / "a.npy")["images"]
    assert isinstance(images, np.memmap)
    assert images.tolist() == [0, 1, 2, 3]


def test_never_unpickles(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object))
    np.savez(tmp_path / "b.npz", images=np.array([{}], object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(FileError, match=f"{name}: cannot be read as an array file"):
            read_arrays(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04broken"])
def test_says_that_a_file_is_damaged(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(FileError, match=r"a\.npz: cannot be read as an array file"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_says_that_a_file_is_truncated(tmp_path, save):
    with open(tmp_path / "a", "wb") as file:
        save(file, np.zeros(1000))
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match="a: cannot be read as an array file"):
        read_arrays(tmp_path / "a")


def test_says_what_is_missing(tmp_path):
    with pytest.raises(FileError, match=r"none\.npz: no such file"):
        read_arrays(tmp_path / "none.npz")
    np.savez(tmp_path / "a.npz", x=np.ones(1), y=np.ones(1))
    with pytest.raises(FileError, match="has no array 'images', it holds: x, y"):
        read_arrays(tmp_path / "a.npz")
