"""What a command line names becomes pictures, one at a time; a broken one costs only itself."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from advdetect.data import pictures
from advdetect.data.pictures import read_inputs
from advdetect.errors import FileError

SHAPE = (1, 4, 4)


def saved(path, *, size=4, colour=None, level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((size, size), level, np.uint8)
    if colour is not None:
        array = np.full((size, size, 3), colour, np.uint8)
    Image.fromarray(array).save(path)
    return path


def read(*paths, shape=SHAPE, **options):
    return list(read_inputs(paths, shape=shape, **options))


def test_files_and_folders_in_order(tmp_path):
    saved(tmp_path / "folder" / "b.png", level=51)
    saved(tmp_path / "folder" / "a" / "c.png", level=102)
    saved(tmp_path / "z.png", level=255)
    inputs = read(tmp_path / "z.png", str(tmp_path / "folder"))
    assert [each.name for each in inputs] == [
        str(tmp_path / name) for name in ("z.png", "folder/a/c.png", "folder/b.png")
    ]
    assert [each.image.mean().item() for each in inputs] == pytest.approx([1, 0.4, 0.2])
    assert all(each.image.shape == SHAPE and each.error is None for each in inputs)


def test_grey_and_colour_are_exchanged_where_nothing_is_lost(tmp_path):
    grey = saved(tmp_path / "grey.png", level=51)
    equal = saved(tmp_path / "equal.png", colour=(51, 51, 51))
    red = saved(tmp_path / "red.png", colour=(51, 0, 0))
    as_grey = read(grey, equal, red)
    assert [each.image is None for each in as_grey] == [False, False, True]
    assert as_grey[2].error == "expected a grey picture, got a coloured one: convert it to grey"
    as_colour = read(grey, equal, red, shape=(3, 4, 4))
    assert all(each.image.shape == (3, 4, 4) for each in as_colour)
    assert (as_colour[0].image == as_colour[1].image).all()


def test_other_sizes_are_scaled_only_when_asked(tmp_path):
    path = saved(tmp_path / "a.png", size=9, level=51)
    (refused,) = read(path)
    assert refused.error == (
        "expected 4 x 4 pixels (height x width), got 9 x 9: ask for --resize to scale it"
    )
    (scaled,) = read(path, resize=True)
    torch.testing.assert_close(scaled.image, torch.full(SHAPE, 0.2))


def test_a_broken_picture_costs_only_itself(tmp_path):
    saved(tmp_path / "a.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:900])
    (tmp_path / "c.png").write_text("not a picture")
    saved(tmp_path / "d.png")
    inputs = read(tmp_path)
    assert [each.image is not None for each in inputs] == [True, False, False, True]
    assert inputs[1].error.startswith("cannot be read: image file is truncated")
    assert inputs[2].error.startswith("no picture of a known format (PNG")


def test_pictures_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    decoded = []
    decode = pictures._decode
    monkeypatch.setattr(pictures, "_decode", lambda path: decoded.append(path) or decode(path))
    for name in "abc":
        saved(tmp_path / f"{name}.png")
    inputs = read_inputs([tmp_path], shape=SHAPE)
    assert decoded == []
    next(inputs)
    assert decoded == [tmp_path / "a.png"]


def test_a_missing_path_stops_before_anything_is_read(tmp_path):
    saved(tmp_path / "a.png")
    with pytest.raises(FileError, match=r"none\.png: no such file or folder"):
        read_inputs([tmp_path / "a.png", tmp_path / "none.png"], shape=SHAPE)


def test_an_empty_folder_stops_before_anything_is_read(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileError, match=r"no picture in this folder \(\.png, \.jpg"):
        read_inputs([tmp_path], shape=SHAPE)


def test_a_list_of_paths(tmp_path):
    saved(tmp_path / "a.png", level=51)
    saved(tmp_path / "folder" / "b.png", level=102)
    (tmp_path / "empty").mkdir()
    lines = [f"{tmp_path}/{name}\n" for name in ("a.png", "none.png", "folder", "empty")]
    inputs = read("-", lines=[*lines, "\n", "x" * 5000 + "\n"])
    assert [each.image is not None for each in inputs] == [True, False, True, False, False]
    assert inputs[1].name == f"{tmp_path}/none.png"
    assert inputs[1].error == "no such file or folder"
    assert inputs[3].error.startswith("no picture in this folder")
    assert inputs[4].error == "no such file or folder"


def test_the_list_is_standard_input_and_read_as_it_comes(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png")
    listed = io.StringIO(f"{path}\r\n-\n{path}\n")
    monkeypatch.setattr("sys.stdin", listed)
    inputs = read_inputs(["-"], shape=SHAPE)
    assert next(inputs).name == str(path)
    assert listed.tell() < len(listed.getvalue())
    # A list that names itself would never end.
    assert [each.name for each in inputs] == [str(path)]


def test_arrays(tmp_path):
    one = np.full((4, 4), 0.25, np.float32)
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "many.npy", np.stack([one, one / 2]))
    np.savez(tmp_path / "set.npz", images=np.full((2, 4, 4, 1), 51, np.uint8), labels=[0, 1])
    inputs = read(*(tmp_path / name for name in ("one.npy", "many.npy", "set.npz")))
    assert [each.name.removeprefix(f"{tmp_path}/") for each in inputs] == [
        *("one.npy[0]", "many.npy[0]", "many.npy[1]", "set.npz[0]", "set.npz[1]")
    ]
    assert [each.image.mean().item() for each in inputs] == pytest.approx(
        [0.25, 0.25, 0.125, 0.2, 0.2]
    )


def test_arrays_for_a_model_of_colour_pictures(tmp_path):
    picture = np.random.default_rng(0).random((3, 4, 4))
    np.save(tmp_path / "first.npy", picture)
    np.save(tmp_path / "last.npy", picture.transpose(1, 2, 0))
    first, last = read(tmp_path / "first.npy", tmp_path / "last.npy", shape=(3, 4, 4))
    assert (first.image == last.image).all()


def test_each_picture_of_an_array_has_its_own_error(tmp_path):
    images = np.zeros((4, 1, 4, 4))
    images[1, 0, 2, 2], images[2, 0, 0, 0] = np.nan, 255
    np.save(tmp_path / "a.npy", images)
    errors = [each.error for each in read(tmp_path / "a.npy")]
    assert errors[0] is None
    assert errors[1] == "pixels must be finite, got NaN or infinity"
    assert errors[2].startswith("pixels must lie in [0, 1], got [0, 255]")
    assert errors[3] is None


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 5, 4, 4)), "expected pictures as (n, h, w)"),
        (np.zeros((0, 4, 4)), "expected pictures, got an array that holds none"),
        (np.array([{}], object), "cannot be read as an array file"),
        (np.zeros((1, 4, 4), np.int64), "expected pixels as uint8, uint16 or float in [0, 1]"),
    ],
)
def test_an_array_that_holds_no_pictures_is_one_broken_input(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    saved(tmp_path / "b.png")
    broken, fine = read(tmp_path / "a.npy", tmp_path / "b.png")
    assert broken.image is None
    assert broken.error.startswith(message)
    assert fine.error is None


def test_an_archive_without_images(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    (broken,) = read(tmp_path / "a.npz")
    assert broken.error == "has no array 'images', it holds: x"
