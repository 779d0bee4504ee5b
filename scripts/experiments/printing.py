"""How experiments print what they found: tables for people, the same figures as JSON."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track as progress_bar
from rich.table import Table

from advdetect import storage
from advdetect.metrics import Estimate
from advdetect.report.plots.canvas import Plot

console = Console(width=100)


def track(items: Sequence[object], text: str) -> Iterable[object]:
    """A progress bar on standard error."""
    return progress_bar(items, text, console=Console(stderr=True), transient=True)


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], file: Path) -> None:
    """Print a table, and keep it as Markdown."""
    table = Table(*header, title=title, title_justify="left")
    cells = [[str(value) for value in row] for row in rows]
    for row in cells:
        table.add_row(*row)
    console.print(table)
    lines = [header, ["---"] * len(header), *cells]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    storage.write_bytes(file, f"{title}\n\n{text}\n".encode())


def keep(plot: Plot, folder: Path) -> None:
    """Write a figure and say where it is."""
    file = folder / f"{plot.name}.png"
    storage.write_bytes(file, plot.png)
    console.print(f"figure: {file}")


def short(estimate: Estimate, digits: int = 4) -> str:
    """A figure with its interval, without its n."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.value:.{digits}f} [{estimate.low:.3f}, {estimate.high:.3f}]"
