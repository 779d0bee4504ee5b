"""Find a guard by its folder or by the name of a shipped model."""

from pathlib import Path

from advdetect.errors import FileError
from advdetect.guard import Guard
from advdetect.networks import models_folder
from advdetect.networks.loading import shipped_models


def load_guard(name: str) -> Guard:
    """Load a guard.

    Args:
        name: A guard's folder, or a shipped model's name, whose own guard is meant.

    Raises:
        FileError: there is no such guard.
    """
    if (Path(name) / "guard.json").is_file():
        return Guard.load(name)
    shipped = models_folder() / name / "guard"
    if (shipped / "guard.json").is_file():
        return Guard.load(shipped)
    what = "it holds no guard.json" if Path(name).exists() else "no such folder"
    raise FileError(
        f"no guard {name!r} ({what}): expected a folder written by advdetect fit, "
        f"or one of {', '.join(shipped_models())}"
    )
