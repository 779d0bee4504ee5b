"""Picture files to pixels, and the inputs of a command line, one at a time."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from advdetect.checks import check_images
from advdetect.data.arrays import as_batch, read_arrays, to_pixels
from advdetect.data.shapes import resize as resize_images
from advdetect.data.shapes import without_loss
from advdetect.errors import AdvDetectError, FileError, InputError

# Only these decoders ever see a file: others start external programs, or are little tried.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
)
ARRAYS = (".npy", ".npz")
LISTED = Path("-")


@dataclass(frozen=True)
class Input:
    """One picture of a command line: its pixels, or why there are none."""

    name: str
    image: Tensor | None = None
    error: str | None = None


def read_picture(path: Path) -> Tensor:
    """Decode a picture file into ``(c, h, w)`` float32 pixels in [0, 1].

    Grey pictures give one channel (8-bit, 16-bit, or float in [0, 1]), all others three;
    a palette or another colour space becomes RGB. Transparent parts show a white
    background, as in a browser: an alpha channel must not hide pixels from whoever looks
    at the picture. The first frame of an animation counts, and a camera's note that the
    picture lies on its side does not, as in torchvision.

    Raises:
        FileError: The file is missing or damaged, is no picture of a known format, or is
            too large to be one (a decompression bomb).
    """
    try:
        return _decode(path)
    except AdvDetectError as error:
        raise FileError(f"{path}: {error}") from error


def pictures_in(folder: Path) -> list[Path]:
    """List the picture files of a folder and of those below it, sorted; hidden ones apart.

    Links are followed, but for one that leads back to a folder it lies in.
    """
    return sorted(_below(folder, frozenset()), key=lambda path: path.relative_to(folder).parts)


def _below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as listed:
            entries = [entry for entry in listed if not entry.name.startswith(".")]
    except OSError as error:
        raise FileError(f"{error.filename}: {error.strerror}") from error
    for entry in entries:
        path = folder / entry.name
        # A link to nowhere is no folder, and an error where it is read.
        if os.path.isdir(path) if entry.is_symlink() else entry.is_dir():
            yield from _below(path, above | {real})
        elif path.suffix.lower() in SUFFIXES:
            yield path


def read_inputs(
    paths: Sequence[str | Path],
    *,
    shape: tuple[int, int, int],
    resize: bool = False,
    lines: Iterable[str] | None = None,
) -> Iterator[Input]:
    """Read pictures one at a time, whatever holds them; a broken one costs only itself.

    A path is a picture file; a folder, whose pictures come sorted, those of its folders
    included; an ``.npy`` or the ``images`` of an ``.npz`` (``as_batch`` says what its
    axes mean), whose pictures are named ``file[0]``, ``file[1]``, ...; or ``-``, which
    stands for the paths on ``lines``, one a line, of any of these kinds.

    A grey picture is repeated into the channels of a coloured model and a picture whose
    channels are equal becomes grey for a grey model, since nothing is lost; a coloured
    picture for a grey model is an error.

    Args:
        paths: Where the pictures are.
        shape: Channels, height and width that the model takes.
        resize: Scale pictures of other sizes, instead of refusing each of them.
        lines: The list that ``-`` stands for; standard input if not given. It is read as
            it comes: a path on it that is missing is one broken input.

    Returns:
        An iterator: an input for each picture, with pixels in [0, 1] of ``shape``, or
        with one line that says what is wrong with it.

    Raises:
        FileError: A path is missing, or a folder holds no picture; before any is read.
    """
    files = [file for path in paths for file in _expand(Path(path))]
    return _read_all(files, shape, resize, lines)


def _expand(path: Path) -> list[Path]:
    """List the files that a path stands for; the list on standard input is itself."""
    if path == LISTED:
        return [path]
    if os.path.isdir(path):  # unlike Path's, false for whatever cannot be a path
        files = pictures_in(path)
        if not files:
            raise FileError(f"{path}: no picture in this folder ({', '.join(SUFFIXES)})")
        return files
    if not os.path.exists(path):
        raise FileError(f"{path}: no such file or folder")
    return [path]


def _read_all(
    files: Iterable[Path], shape: tuple[int, int, int], resize: bool, lines: Iterable[str] | None
) -> Iterator[Input]:
    for file in files:
        if file == LISTED:
            for line in sys.stdin if lines is None else lines:
                yield from _read_line(line.rstrip("\r\n"), shape, resize)
        elif file.suffix.lower() in ARRAYS:
            yield from _read_array(file, shape, resize)
        else:
            yield _checked(str(file), partial(_decode, file), shape, resize)


def _read_line(name: str, shape: tuple[int, int, int], resize: bool) -> Iterator[Input]:
    """Give what a path on a list stands for; the list itself is no such path."""
    if not name:
        return
    try:
        files = _expand(Path(name))
    except FileError as error:
        yield Input(name, error=_reason(error, name))
    else:
        yield from _read_all(files, shape, resize, lines=())


def _read_array(path: Path, shape: tuple[int, int, int], resize: bool) -> Iterator[Input]:
    try:
        batch = as_batch(read_arrays(path)["images"], shape)
        if not len(batch):
            raise InputError("expected pictures, got an array that holds none")
    except AdvDetectError as error:
        yield Input(str(path), error=_reason(error, path))
        return
    for i, picture in enumerate(batch):
        yield _checked(f"{path}[{i}]", partial(to_pixels, picture), shape, resize)


def _checked(
    name: str, decode: Callable[[], Tensor], shape: tuple[int, int, int], resize: bool
) -> Input:
    """Decode one picture and fit it to the model, or say why that is not possible."""
    try:
        image = decode()
        check_images(image[None])
        image = without_loss(image, shape[0])
        if resize:
            image = resize_images(image[None], shape[1:])[0]
        if tuple(image.shape) != shape:
            raise InputError(
                f"expected {shape[1]} x {shape[2]} pixels (height x width), "
                f"got {image.shape[1]} x {image.shape[2]}: ask for --resize to scale it"
            )
    except AdvDetectError as error:
        return Input(name, error=_reason(error, name))
    return Input(name, image)


def _reason(error: Exception, name: str | Path) -> str:
    """What is wrong, on one line, without the name that stands beside it."""
    return " ".join(str(error).removeprefix(f"{name}: ").split())


def _decode(path: Path) -> Tensor:
    """Read a picture as ``read_picture`` says; errors do not name it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                pixels = pixels_of(picture)
    except UnidentifiedImageError:
        raise FileError(f"no picture of a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise FileError(
            f"has more than {Image.MAX_IMAGE_PIXELS} pixels, too many to be decoded safely"
        ) from None
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # decoders raise whatever the broken bytes meet first
        raise FileError(f"damaged: {error}") from error
    check_images(pixels[None])
    return pixels


def pixels_of(picture: Image.Image) -> Tensor:
    """Decode an open picture as ``read_picture`` says; floats are left in their own range."""
    if picture.mode.startswith("I"):  # 16-bit grey; the decoders widen it to I at times
        grey16 = np.asarray(picture, dtype=np.float32)[None]
        if isinstance(hidden := picture.info.get("transparency"), int):
            grey16 = np.where(grey16 == hidden, 65535, grey16)
        return to_pixels(grey16 / 65535)
    if picture.mode == "F":
        return to_pixels(np.asarray(picture)[None])
    grey = picture.mode in ("1", "L", "LA", "La")
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        front = picture.convert("RGBA")
        back = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(back, front).convert("RGB")
    array = np.asarray(picture.convert("L" if grey else "RGB"))
    return to_pixels(array[None] if grey else np.moveaxis(array, 2, 0))
