"""What a told report consists of, whatever it is written as.

In texts, backticks mark code; nothing else is markup.
"""

from dataclasses import dataclass

from advdetect.report.figures import PictureRow
from advdetect.report.plots import Plot


@dataclass(frozen=True)
class Cell:
    """A figure of a table, its interval below it, and a word that sets it apart."""

    text: str
    below: str = ""
    tag: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first cell of a row says what the row is of."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    items: tuple[str, ...]
    alert: bool = False


@dataclass(frozen=True)
class Terms:
    """Words, and what they mean."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Drawings:
    """Figures that stand beside each other."""

    plots: tuple[Plot, ...]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures with verdicts; ``plot`` is all of them as one figure."""

    rows: tuple[PictureRow, ...]
    plot: Plot


@dataclass(frozen=True)
class Folded:
    """Tables for those who want them all."""

    title: str
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Tile:
    """A figure that a reader should carry away."""

    label: str
    value: str
    below: str


Block = Table | Text | Points | Terms | Drawings | Gallery | Folded


@dataclass(frozen=True)
class Section:
    """A part of a report under its heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Story:
    """A whole report, told."""

    title: str
    subtitle: str
    headline: str
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
