"""A folder of results that can be interrupted at any point and resumed."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor

from advdetect import storage
from advdetect.errors import FileError

SCHEMA = 1
KEYS = {"command": str, "configuration": dict, "threads": int}
_PACKAGES = ("advdetect", "torch", "foolbox", "numpy", "scikit-learn")


@final
class RunFolder:
    """Shards of tensors beside a manifest that says what they belong to.

    A shard is written whole or not at all, so that an interrupted command finds what is done
    and goes on with the rest. A folder belongs to one command and one configuration.

    Args:
        path: The folder.
        manifest: What ``manifest.json`` holds.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def start(
        cls, path: Path, command: str, configuration: Mapping[str, Any], *, device: str = "cpu"
    ) -> Self:
        """Begin a run, or take up one that was begun with the same command and configuration.

        Args:
            path: The folder; made where there is none.
            command: Name of the command.
            configuration: Everything that the results depend on, as plain JSON.
            device: Kind of device that computes them, ``cpu`` or ``cuda``: they round differently.

        Raises:
            FileError: the folder holds another run, or something else.
        """
        manifest = {
            "schema": SCHEMA,
            "command": command,
            # As it will be read back: tuples become lists.
            "configuration": json.loads(json.dumps(dict(configuration), allow_nan=False)),
            "threads": torch.get_num_threads(),
            "device": device,
            "versions": {"python": platform.python_version(), **versions()},
        }
        file = path / "manifest.json"
        if file.is_file():
            found = storage.read_json(file, schema=SCHEMA, keys=KEYS)
            difference = _difference(found, manifest)
            if difference:
                raise FileError(
                    f"{path} holds another run ({difference}): "
                    "give another --out, or repeat that run's own command"
                )
            return cls(path, found)
        if path.is_dir() and any(file.suffix != ".part" for file in path.iterdir()):
            raise FileError(f"{path} is not empty and holds no run: give another --out")
        if path.exists() and not path.is_dir():
            raise FileError(f"{path} is a file: --out expects a folder")
        storage.write_json(file, manifest)
        return cls(path, manifest)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a run to read it.

        Raises:
            FileError: there is no run in the folder, or its manifest is damaged.
        """
        file = path / "manifest.json"
        if not file.is_file():
            raise FileError(f"no run in {path}: expected a folder with manifest.json")
        return cls(path, storage.read_json(file, schema=SCHEMA, keys=KEYS))

    @property
    def configuration(self) -> Mapping[str, Any]:
        return self.manifest["configuration"]

    def has(self, shard: str) -> bool:
        """Whether a shard is done."""
        return self._file(shard).is_file()

    def write(self, shard: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a shard."""
        storage.save_tensors(self._file(shard), tensors)

    def read(self, shard: str) -> dict[str, Tensor]:
        """Read a shard.

        Raises:
            FileError: it is missing or damaged.
        """
        try:
            return storage.load_tensors(self._file(shard))
        except FileError as error:
            raise FileError(f"{error}; delete it and repeat the run's own command") from None

    def note_time(self, shard: str, seconds: float) -> None:
        """Add to ``timings.json``, which alone may differ between equal runs."""
        file = self.path / "timings.json"
        timings = storage.read_json(file) if file.is_file() else {}
        storage.write_json(file, {**timings, shard: round(seconds, 3)})

    def tidy(self) -> None:
        """Remove what writing left behind where it was killed."""
        for part in self.path.rglob(".*.part"):
            part.unlink(missing_ok=True)

    def _file(self, shard: str) -> Path:
        return self.path / "adversarial" / f"{shard}.safetensors"


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on, by name."""
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the first thing in which two manifests differ; versions may."""
    found = {"device": "cpu", **found}  # older runs do not say
    for key in ("command", "threads", "device"):
        if found.get(key) != wanted[key]:
            return f"its {key} is {found.get(key)}, not {wanted[key]}"
    before, now = found.get("configuration", {}), wanted["configuration"]
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            return f"its {key} is {before.get(key)}, not {now.get(key)}"
    return ""
