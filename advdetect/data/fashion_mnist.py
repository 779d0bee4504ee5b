"""Fashion-MNIST: the official test split comes with the package, the training split does not."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import torch

from advdetect.data.arrays import Array, to_pixels
from advdetect.data.splits import Source
from advdetect.data.torchvision_sets import cache_folder, fetch
from advdetect.errors import FileError

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Rows of the official test split. Its order is already random.
ROWS = {
    "reference": range(0, 5_000),
    "calibration": range(5_000, 7_000),
    "evaluation": range(7_000, 10_000),
    "test": range(0, 10_000),
}

EMBEDDED = Path(__file__).parent / "files"
SHA256 = {
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}

# Where the package dataset-fashion-mnist of Debian and Ubuntu puts the files.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def open_fashion_mnist(split: str, root: Path | None) -> Source:
    """Take the embedded test split, cut by index; ``train`` is the official training split.

    The source index is the position in the test split; that of the training split goes
    on from 10,000. The training files are looked for in ``root`` (as torchvision keeps
    them, or the two files themselves), in the folder of Debian's package, and in the
    cache folder of the user, and downloaded at last.

    Raises:
        FileError: The embedded files are not those that were published, or the training
            split is neither found nor can be downloaded.
    """
    if split == "train":
        images, labels = _training(root)
        rows, start = {"train": torch.arange(len(labels))}, 10_000
    else:
        images, labels = _parse(*(_embedded(name) for name in SHA256))
        rows, start = {name: torch.tensor(part) for name, part in ROWS.items()}, 0
    return Source(
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=CLASSES,
        splits=rows,
        read=lambda rows, fit: fit(to_pixels(images[rows.numpy(), None])),
        start=start,
    )


def _embedded(name: str) -> Path:
    """Require an embedded file to be the published one, byte by byte."""
    path = EMBEDDED / name
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}: install advdetect again") from error
    if digest != SHA256[name]:
        raise FileError(
            f"{path}: is not the published file (sha256 {digest[:12]}..., expected "
            f"{SHA256[name][:12]}...): install advdetect again"
        )
    return path


def _training(root: Path | None) -> tuple[Array, Array]:
    """Read the images and the labels of the training split, or download them."""
    places = [root] if root else []
    places += [DEBIAN, root or cache_folder()]
    for place in places:
        for folder in (place, place / "FashionMNIST" / "raw"):
            found = _pair(folder)
            if found:
                return _parse(*found)
    try:
        pixels, labels, _ = fetch("FashionMNIST", root, train=True)
    except FileError as error:
        raise FileError(
            "the training split of fashion-mnist is not in "
            f"{' or '.join(str(place) for place in dict.fromkeys(places))}, and cannot be "
            "downloaded: run 'apt install dataset-fashion-mnist', or give the folder that "
            "holds it (data_root=, --data-root)"
        ) from error
    return pixels[:, 0], labels


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """Give the two training files of a folder, packed or not."""
    for ending in (".gz", ""):
        images = folder / f"train-images-idx3-ubyte{ending}"
        labels = folder / f"train-labels-idx1-ubyte{ending}"
        if images.is_file() and labels.is_file():
            return images, labels
    return None


def _parse(images: Path, labels: Path) -> tuple[Array, Array]:
    """Read ``(n, 28, 28)`` pixels and their ``(n,)`` labels, and require them to pair up."""
    pixels, classes = _read_idx(images), _read_idx(labels)
    if pixels.shape != (len(classes), 28, 28) or classes.ndim != 1 or not len(classes):
        raise FileError(
            f"{images}: expected (n, 28, 28) pictures and their n labels, "
            f"got {pixels.shape} and {classes.shape}"
        )
    if classes.max() >= len(CLASSES):
        raise FileError(f"{labels}: expected labels from 0 to 9, got {classes.max()}")
    return pixels, classes


def _read_idx(path: Path) -> Array:
    """Read bytes in the idx format: two zeros, type 8, the number of axes, their lengths."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        if content[:3] != b"\0\0\x08":
            raise ValueError("another type of file")
        axes = content[3]
        lengths = np.frombuffer(content, ">u4", axes, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(lengths)
    except Exception as error:  # a damaged archive raises whatever its broken bytes meet first
        raise FileError(f"{path}: damaged, or no idx file: {error}") from error
