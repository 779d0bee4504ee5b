"""Comparisons and paths as files: a figure, and what it shows as JSON."""

import re
from collections.abc import Sequence
from pathlib import Path

from advdetect import storage
from advdetect.report.plots.canvas import Plot
from advdetect.report.plots.paths import network_paths
from advdetect.report.plots.similarity import heat_map
from advdetect.workflows.comparing import Comparison
from advdetect.workflows.pathing import Paths


def write_comparisons(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write a heat map and a JSON file for each; files of the same comparison are replaced."""
    written: list[Path] = []
    for c in comparisons:
        title = f"{c.measure.replace('_', ' ')} of layers"
        if c.found is not None:
            title += f": {c.found[0]} of {c.found[1]} find their namesake"
        plot = heat_map(
            file_name(c.first, c.second, c.measure),
            c.similarity,
            rows=c.rows,
            columns=c.columns,
            row_title=c.first,
            column_title=c.second,
            title=title,
            images=c.images,
        )
        written += _write(plot, c.to_json(), folder)
    return written


def write_paths(paths: Paths, folder: Path, *, groups: dict[str, str] | None = None) -> list[Path]:
    """Write the figure of the paths and a JSON file; ``groups`` share a colour, by network."""
    plot = network_paths(
        paths.places,
        paths.target,
        groups=groups or {name: name for name in paths.networks},
        images=paths.images,
        space=paths.space,
        stress=paths.stress,
    )
    return _write(plot, paths.to_json(), folder)


def file_name(*parts: str) -> str:
    """Names of models and measures as the name of a file."""
    return "--".join(re.sub(r"[^\w.-]+", "-", part).strip("-") for part in parts)


def _write(plot: Plot, content: object, folder: Path) -> list[Path]:
    picture = folder / f"{plot.name}.png"
    storage.write_bytes(picture, plot.png)
    storage.write_json(folder / f"{plot.name}.json", content)
    return [picture]
