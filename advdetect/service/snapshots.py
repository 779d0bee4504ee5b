"""A guard's files put aside, so that every worker, late ones too, serves the same guard."""

import shutil
from pathlib import Path

from advdetect import storage
from advdetect.errors import FileError
from advdetect.workflows.guards import DESCRIPTION, guard_folder

CARD = "card.json"


def take_snapshot(name: str, into: Path) -> None:
    """Copy a guard, and of its model what it needs; whoever loads the copy verifies it.

    Args:
        name: A guard's folder, or a shipped model's name.
        into: An empty folder; the copy is in its subfolder ``guard``.

    Raises:
        AdvDetectError: there is no such guard, or it cannot be copied.
    """
    folder = guard_folder(name)
    try:
        _copy(folder, DESCRIPTION, into / "guard")
        if (folder.parent / CARD).is_file():  # the weights may be there
            _copy(folder.parent, CARD, into)
    except OSError as error:
        raise FileError(f"{folder} cannot be copied to {into}: {error.strerror}") from None


def _copy(folder: Path, description: str, into: Path) -> None:
    """Copy a description and the files that it vouches for."""
    into.mkdir(exist_ok=True)
    try:
        names = {description, *storage.read_json(folder / description)["sha256"]}
    except (KeyError, TypeError) as error:
        raise FileError(f"{folder / description} is incomplete: {error}") from None
    for name in names:
        if Path(name).name != name:
            raise FileError(f"{folder / description} names a file elsewhere: {name}")
        shutil.copyfile(folder / name, into / name)
