"""Labelled pictures by name, folder or file: ``DATASETS`` and ``load``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from advdetect.checks import check_images, pick
from advdetect.data.digits import open_digits
from advdetect.data.fashion_mnist import open_fashion_mnist
from advdetect.data.folder import open_folder
from advdetect.data.image_set import ImageSet
from advdetect.data.npz import open_npz
from advdetect.data.pictures import Input, read_inputs, read_picture
from advdetect.data.shapes import check_wanted, fit_images
from advdetect.data.splits import SPLITS, Source
from advdetect.data.torchvision_sets import open_torchvision_set
from advdetect.errors import FileError, InputError

__all__ = [
    "DATASETS",
    "SPLITS",
    "ImageSet",
    "Input",
    "load",
    "read_inputs",
    "read_picture",
]

# Each is called with the split that will be read, and the folder for data that is fetched.
DATASETS: dict[str, Callable[[str, Path | None], Source]] = {
    "fashion-mnist": open_fashion_mnist,
    "digits": lambda split, root: open_digits(),
    "mnist": partial(open_torchvision_set, "MNIST"),
    "cifar10": partial(open_torchvision_set, "CIFAR10"),
    "svhn": partial(open_torchvision_set, "SVHN"),
}


def load(
    name: str | Path,
    *,
    split: str,
    limit: int | None = None,
    data_root: Path | None = None,
    resize: tuple[int, int] | None = None,
    channels: int | None = None,
) -> ImageSet:
    """Load one split of a data set; only the pictures that are returned are decoded.

    They come in random order (seeded; in that of the file in ``fashion-mnist``): of data
    sorted by class the first few would otherwise be of one class.

    Splits never share a source picture: ``reference``, ``calibration`` and ``evaluation``
    are fixed row numbers in the embedded data, and seeded shares (0.5, 0.2, 0.3) of all
    other, unless it has a part of its own for one of them; an official test part is
    evaluation. Data with a separate test part also has ``train`` and ``test``.

    Args:
        name: A name in ``DATASETS``, a folder with a folder of pictures per class
            (``folder.open_folder``), or an ``.npz`` file (``npz.open_npz``).
        split: One of ``SPLITS``.
        limit: At most so many pictures, the first of the split.
        data_root: Folder that holds, or will hold, data that does not come with the
            package.
        resize: Height and width to scale pictures of other sizes to.
        channels: 1 or 3, to convert pictures that have others.

    Raises:
        InputError: No such name or split, pictures of unequal shapes, or arrays with
            other types or ranges than they should have.
        FileError: A file is missing or damaged, or data cannot be downloaded.
    """
    pick(dict.fromkeys(SPLITS), split, "split")
    check_wanted(resize, channels)
    if limit is not None and limit < 1:
        raise InputError(f"the limit must be at least 1 picture, got {limit}")
    source = _open(name, split, None if data_root is None else Path(data_root))
    try:
        rows = pick(source.splits, split, "split with pictures")[:limit]
        images = source.read(rows, partial(fit_images, size=resize, channels=channels))
        check_images(images)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return ImageSet(
        name=str(name),
        split=split,
        images=images.contiguous(),
        labels=source.labels[rows],
        index=rows + source.start,
        classes=source.classes,
    )


def _open(name: str | Path, split: str, root: Path | None) -> Source:
    if name in DATASETS:
        return DATASETS[str(name)](split, root)
    path = Path(name)
    if path.is_dir():
        return open_folder(path)
    if path.suffix == ".npz":
        return open_npz(path)
    if path.exists():
        raise InputError(f"{path}: expected a folder with a folder per class, or an .npz file")
    raise FileError(
        f"no data set, folder or file named {str(name)!r}, choose from: {', '.join(DATASETS)}, "
        "or give an image folder or an .npz file"
    )
