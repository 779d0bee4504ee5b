"""A folder of pictures, one folder per class, as a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advdetect.data.pictures import pictures_in, read_picture
from advdetect.data.splits import SPLITS, Source, split_rows
from advdetect.errors import FileError, InputError


@dataclass(frozen=True)
class Listed:
    """A picture of the listing: the part and the class it lies under."""

    part: str
    label: str
    path: Path


def open_folder(root: Path) -> Source:
    """Take ``ROOT/CLASS/.../PICTURE``, or ``ROOT/PART/CLASS/.../PICTURE``.

    Classes are the sorted names of the class folders, as torchvision numbers them. A part
    named ``reference``, ``calibration`` or ``evaluation`` is that split; ``test`` is
    evaluation; the pictures of ``train``, or those of a folder without parts, are shared
    among the splits that remain. The source index counts the pictures of the whole
    folder, sorted by path. Pictures are decoded as they are asked for.

    Raises:
        FileError: There is no class folder, or one of them holds no picture; and, while
            pictures are read, one that is damaged.
        InputError: Parts stand beside other folders, or ``test`` beside ``evaluation``;
            and, while they are read, pictures of unequal shapes.
    """
    folders = _folders(root)
    parts = [name for name in folders if name in SPLITS]
    others = [name for name in folders if name not in SPLITS]
    if parts and others:
        raise InputError(
            f"{root}: holds {', '.join(others)} beside {', '.join(parts)}: rename these after "
            f"the splits ({', '.join(SPLITS)}), or give the path of one of the folders"
        )
    if "test" in parts and "evaluation" in parts:
        raise InputError(f"{root}: holds both test and evaluation, which are the same split")
    listing = [entry for part in parts for entry in _list(root / part, part)]
    if not parts:
        listing = _list(root, "train")
    classes = tuple(sorted({entry.label for entry in listing}))
    number = {name: i for i, name in enumerate(classes)}
    rows = {
        part: torch.tensor([i for i, entry in enumerate(listing) if entry.part == part])
        for part in parts or ["train"]
    }
    pool = rows.pop("train", torch.arange(0))
    if "test" in rows:
        rows["evaluation"] = rows.pop("test")
    return Source(
        labels=torch.tensor([number[entry.label] for entry in listing]),
        classes=classes,
        splits=split_rows(pool, rows),
        read=lambda rows, fit: _read(root, [listing[i].path for i in rows.tolist()], fit),
    )


def _folders(root: Path) -> list[str]:
    """Name the folders in a folder, sorted; hidden ones apart."""
    return sorted(
        path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _list(root: Path, part: str) -> list[Listed]:
    labels = _folders(root)
    if not labels:
        raise FileError(f"{root}: expected one folder of pictures per class, found no folder")
    listing = []
    for label in labels:
        pictures = pictures_in(root / label)
        if not pictures:
            raise FileError(f"{root / label}: no picture in this class folder")
        listing += [Listed(part, label, path) for path in pictures]
    return listing


def _read(root: Path, paths: list[Path], fit: Callable[[Tensor], Tensor]) -> Tensor:
    """Decode pictures into one tensor, filled as they come: sorted by path, as they are listed."""
    names = [path.relative_to(root) for path in paths]
    order = sorted(range(len(paths)), key=names.__getitem__)
    first, images = names[order[0]], torch.empty(0)
    for i in order:
        image = fit(read_picture(paths[i])[None])[0]
        if i == order[0]:
            images = image.new_empty(len(paths), *image.shape)
        if image.shape[1:] != images.shape[2:]:
            raise InputError(
                f"{names[i]}: is {image.shape[1]} x {image.shape[2]} pixels (height x width), "
                f"expected {images.shape[2]} x {images.shape[3]} as in {first}: ask for one size "
                "(resize=, --resize)"
            )
        if len(image) != images.shape[1]:
            raise InputError(
                f"{names[i]}: has {len(image)} channels, expected {images.shape[1]} as in "
                f"{first}: ask for 1 or 3 of them (channels=, --channels)"
            )
        images[i] = image
    return images
