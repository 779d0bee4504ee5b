"""Find a guard by its folder or by the name of a shipped model."""

from pathlib import Path

from advdetect import storage
from advdetect.errors import FileError
from advdetect.guard import Guard
from advdetect.networks import models_folder
from advdetect.networks.loading import shipped_models

DESCRIPTION = "guard.json"


def load_guard(name: str) -> Guard:
    """Load a guard.

    Args:
        name: A guard's folder, or a shipped model's name, whose own guard is meant.

    Raises:
        FileError: there is no such guard.
    """
    return Guard.load(guard_folder(name))


def load_guard_once(name: str) -> tuple[Guard, str]:
    """Load a guard and its fingerprint, the sha256 that seals its ``guard.json``.

    Raises:
        FileError: there is no such guard, or it was replaced while it was read.
    """
    folder = guard_folder(name)
    before = _fingerprint(folder)
    guard = Guard.load(folder)
    if _fingerprint(folder) != before:
        raise FileError(f"{folder} was replaced while it was read: load it again")
    return guard, before


def guard_folder(name: str) -> Path:
    """Find a guard's folder by its path or by the name of a shipped model.

    Raises:
        FileError: there is no such guard.
    """
    shipped = models_folder() / name / "guard"
    for folder in (Path(name), shipped):
        if (folder / DESCRIPTION).is_file():
            return folder
    guarded = [
        model
        for model in shipped_models()
        if (models_folder() / model / "guard" / DESCRIPTION).is_file()
    ]
    what = f"it holds no {DESCRIPTION}" if Path(name).exists() else "no such folder"
    raise FileError(
        f"no guard {name!r} ({what}): expected a folder written by advdetect fit, "
        f"or one of {', '.join(guarded)}"
    )


def _fingerprint(folder: Path) -> str:
    try:
        return str(storage.read_json(folder / DESCRIPTION)["sha256"][DESCRIPTION])
    except (KeyError, TypeError) as error:
        raise FileError(f"{folder / DESCRIPTION} is incomplete: {error}") from None
