"""Picture files of every kind to pixels."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from advdetect.data.pictures import pictures_in, read_picture
from advdetect.errors import FileError

GREY = np.array([[0, 51], [102, 255]], np.uint8)
COLOUR = np.stack([GREY, GREY.T, 255 - GREY], axis=2)


def saved(path, array, mode=None, **options):
    picture = Image.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.pgm", "a.gif"])
def test_grey(tmp_path, name):
    pixels = read_picture(saved(tmp_path / name, GREY))
    assert pixels.dtype == torch.float32
    expected = torch.from_numpy(GREY / np.float32(255))[None]
    torch.testing.assert_close(pixels[:1], expected)
    if name != "a.gif":  # which has a palette only
        assert pixels.shape == (1, 2, 2)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "A.PNG"])
def test_colour(tmp_path, name):
    pixels = read_picture(saved(tmp_path / name, COLOUR))
    torch.testing.assert_close(pixels, torch.from_numpy(COLOUR / np.float32(255)).permute(2, 0, 1))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_lossy_formats_come_close(tmp_path, name):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    pixels = read_picture(saved(tmp_path / name, flat))
    expected = torch.tensor([200, 100, 50]) / 255
    torch.testing.assert_close(pixels.mean((1, 2)), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits(tmp_path, name):
    levels = np.array([[0, 13107], [256, 65535]], np.uint16)
    pixels = read_picture(saved(tmp_path / name, levels))
    torch.testing.assert_close(pixels, torch.tensor([[[0, 0.2], [256 / 65535, 1]]]))


def test_sixteen_bits_with_the_high_byte_first(tmp_path):
    levels = np.array([[0, 13107], [256, 65535]], ">u2")
    picture = Image.frombytes("I;16B", (2, 2), levels.tobytes())
    picture.save(tmp_path / "a.tif")
    pixels = read_picture(tmp_path / "a.tif")
    torch.testing.assert_close(pixels, torch.tensor([[[0, 0.2], [256 / 65535, 1]]]))


def test_float(tmp_path):
    levels = np.array([[0, 0.3], [0.123456, 1]], np.float32)
    pixels = read_picture(saved(tmp_path / "a.tif", levels))
    assert (pixels == torch.from_numpy(levels)).all()


def test_black_and_white(tmp_path):
    bits = np.array([[True, False]])
    assert read_picture(saved(tmp_path / "a.png", bits)).tolist() == [[[1, 0]]]


def test_palette_becomes_colour(tmp_path):
    path = saved(tmp_path / "a.png", COLOUR, "P", bits=8)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        expected = np.asarray(picture.convert("RGB"), np.float32) / 255
    torch.testing.assert_close(read_picture(path), torch.from_numpy(expected).permute(2, 0, 1))


def test_another_colour_space_becomes_rgb(tmp_path):
    flat = np.full((8, 8, 3), 255, np.uint8)
    pixels = read_picture(saved(tmp_path / "a.jpg", flat, "CMYK"))
    assert pixels.shape == (3, 8, 8)
    torch.testing.assert_close(pixels, torch.ones(3, 8, 8), atol=0.02, rtol=0)


def test_transparent_parts_show_white(tmp_path):
    red = np.array([[(255, 0, 0, 255), (255, 0, 0, 0), (255, 0, 0, 51)]], np.uint8)
    pixels = read_picture(saved(tmp_path / "a.png", red))
    expected = torch.tensor([[1, 1, 1], [0, 1, 0.8], [0, 1, 0.8]])
    torch.testing.assert_close(pixels[:, 0], expected)


def test_grey_with_transparency_stays_grey(tmp_path):
    levels = np.array([[(0, 255), (0, 0), (102, 255)]], np.uint8)
    Image.fromarray(levels, "LA").save(tmp_path / "a.png")
    torch.testing.assert_close(read_picture(tmp_path / "a.png"), torch.tensor([[[0, 1, 0.4]]]))


def test_transparent_grey_level_shows_white(tmp_path):
    path = saved(tmp_path / "a.png", GREY, transparency=0)
    assert read_picture(path)[0, 0].tolist() == pytest.approx([1, 0.2])


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(np.full((2, 2), level, np.uint8)) for level in (255, 0)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_picture(tmp_path / "a.gif") == 1).all()


def test_the_content_decides_not_the_name(tmp_path):
    saved(tmp_path / "a.bmp", GREY)
    os.rename(tmp_path / "a.bmp", tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").shape == (1, 2, 2)


def test_says_that_there_is_no_file(tmp_path):
    with pytest.raises(FileError, match=r"none\.png: cannot be read: No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        read_picture(tmp_path)


@pytest.mark.parametrize("content", [b"", b"a text", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_says_that_it_is_no_picture(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FileError, match=r"a\.png: no picture of a known format \(PNG, JPEG"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp", "a.ppm"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_says_that_it_is_truncated(tmp_path, name, kept):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    content = saved(tmp_path / name, noise).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(FileError, match=f"{name}: (cannot be read|damaged|no picture)"):
        read_picture(tmp_path / name)


def test_any_changed_bytes_give_a_picture_or_a_file_error(tmp_path):
    content = saved(tmp_path / "a.png", COLOUR).read_bytes()
    for position in range(len(content)):
        broken = bytearray(content)
        broken[position] ^= 0x55
        (tmp_path / "a.png").write_bytes(broken)
        try:
            assert read_picture(tmp_path / "a.png").isfinite().all()
        except FileError as error:
            assert "a.png" in str(error)  # noqa: PT017  (either outcome is right)


@pytest.mark.parametrize("pixels", [30, 60])
def test_says_that_it_is_a_decompression_bomb(tmp_path, monkeypatch, pixels):
    # From the limit on a warning, from twice the limit on an error of Pillow's.
    saved(tmp_path / "a.png", np.zeros((6, pixels // 6), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 29)
    with pytest.raises(FileError, match=r"a\.png: has more than 29 pixels, too many"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([[0, 1.5]], r"a\.tif: pixels must lie in \[0, 1\], got \[0, 1\.5\]"),
        ([[-0.1, 1]], r"must lie in \[0, 1\]"),
        ([[0, np.nan]], "must be finite"),
    ],
)
def test_says_that_floats_are_no_pixels(tmp_path, levels, message):
    saved(tmp_path / "a.tif", np.array(levels, np.float32))
    with pytest.raises(FileError, match=message):
        read_picture(tmp_path / "a.tif")


def test_lists_pictures_sorted_by_folder_and_name(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/c/d.webp", "notes.txt", ".hidden.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in pictures_in(tmp_path)]
    assert found == ["a/c/d.webp", "a/z.JPG", "b.png"]


def test_sixteen_bits_with_a_transparent_level(tmp_path):
    levels = np.array([[0, 13107], [256, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png", transparency=0)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["transparency"] == 0
    pixels = read_picture(tmp_path / "a.png")
    torch.testing.assert_close(pixels, torch.tensor([[[1, 0.2], [256 / 65535, 1]]]))


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path):
    with pytest.raises(FileError, match="gone: No such file"):
        pictures_in(tmp_path / "gone")


def test_linked_folders_are_listed_and_loops_end(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (elsewhere / "deep").mkdir(parents=True)
    for name in ("here/a.png", "elsewhere/deep/b.png"):
        (tmp_path / name).touch()
    here = tmp_path / "here"
    (here / "other").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(here)  # in a circle
    (here / "deep" / "up").symlink_to(here)
    (here / "self").symlink_to("self")
    (here / "gone.png").symlink_to("nowhere.png")
    found = [path.relative_to(here).as_posix() for path in pictures_in(here)]
    assert found == ["a.png", "gone.png", "other/deep/b.png"]
