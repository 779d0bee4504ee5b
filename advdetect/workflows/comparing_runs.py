"""Lay finished evaluations side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advdetect import storage
from advdetect.errors import FileError, InputError
from advdetect.report.html import to_html
from advdetect.report.report import Report
from advdetect.report.side_by_side import Line, lines, tell_side_by_side


@dataclass(frozen=True)
class ComparedRuns:
    """Runs by name, and every figure that one of them has.

    Attributes:
        runs: Names of the runs, as short as they can be told apart.
        lines: The figures.
        files: What was written.
    """

    runs: tuple[str, ...]
    lines: tuple[Line, ...]
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "schema": 1,
            "runs": list(self.runs),
            "lines": [line.to_json() for line in self.lines],
        }


def compare_runs(folders: Sequence[Path], out: Path) -> ComparedRuns:
    """Compare evaluations, and write ``runs.html`` and ``runs.json``.

    Args:
        folders: Run folders of ``evaluate``, at least two.
        out: Where the files go.

    Raises:
        InputError: fewer than two runs, or one twice.
        FileError: a folder holds no finished evaluation.
    """
    if len(folders) < 2:
        raise InputError(f"expected at least two runs to compare, got {len(folders)}")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("a run is named twice: there is nothing to compare it with")
    if out.exists() and not out.is_dir():
        raise FileError(f"{out} is a file: --out expects a folder")
    reports: dict[str, Report] = {}
    for name, folder in zip(_names(folders), folders, strict=True):
        if not (folder / "report.json").is_file():
            raise FileError(
                f"no finished evaluation in {folder}: expected a folder with report.json"
            )
        reports[name] = Report.load(folder / "report.json")
    files = (out / "runs.json", out / "runs.html")
    compared = ComparedRuns(tuple(reports), lines(reports), files)
    storage.write_json(files[0], compared.to_json())
    storage.write_bytes(files[1], to_html(tell_side_by_side(reports)).encode())
    return compared


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as it takes to tell them apart."""
    paths = [folder.resolve() for folder in folders]
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
