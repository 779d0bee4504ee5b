"""How alike layers are: the heat map of a comparison, and accuracies of finding layers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advdetect.report.plots.canvas import COLORS, Figure, Plot, render
from advdetect.report.words import count

CELL = 0.34  # inches; a figure fits two digits
LABELS = 24  # at most so many layers are named on an axis
NUMBERS = 12  # at most so many layers have their figures written into the cells


def heat_map(
    name: str,
    similarity: NDArray[np.float64],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    row_title: str,
    column_title: str,
    title: str,
    images: int,
) -> Plot:
    """Similarity of every layer of one network to every layer of another.

    Args:
        name: Of the file.
        similarity: ``(rows, columns)``.
        rows: Names of the layers down the side, the first at the top.
        columns: Names of the layers along the foot.
        row_title: Name of the network whose layers are rows.
        column_title: Name of the other.
        title: What is seen, in a sentence.
        images: How many inputs were compared.
    """
    height, width = similarity.shape
    cell = min(CELL, 7 / max(height, width))
    size = (max(3.6, width * cell + 2.1), max(2.4, height * cell + 1.3))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        low, high = min(0.0, float(similarity.min())), max(1.0, float(similarity.max()))
        shown = axes.imshow(
            similarity, cmap="cividis", vmin=low, vmax=high, interpolation="nearest"
        )
        axes.grid(visible=False)
        for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
            step = -(-len(names) // LABELS)
            axis.set_ticks(range(0, len(names), step), [short(n) for n in names[::step]])
        axes.tick_params(axis="x", labelrotation=90)
        axes.tick_params(length=0, labelsize=7)
        axes.set_xlabel(column_title)
        axes.set_ylabel(row_title)
        for spine in axes.spines.values():
            spine.set_visible(False)
        best = similarity.argmax(1)
        for i, j in enumerate(best):
            frame = ([j - 0.5, j + 0.5, j + 0.5, j - 0.5, j - 0.5],)
            axes.plot(*frame, [i - 0.5, i - 0.5, i + 0.5, i + 0.5, i - 0.5], color="white", lw=1.2)
        if max(height, width) <= NUMBERS:
            for i, j in np.ndindex(height, width):
                dark = similarity[i, j] < (low + high) / 2
                text = f"{similarity[i, j]:.2f}".replace("0.", ".", 1)
                color = "white" if dark else COLORS["ink"]
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
        bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)

    caption = (
        f"{row_title} (rows, from input to output) against {column_title} (columns), over "
        f"{count(images)} images; framed: the most similar layer of each row."
    )
    return render(
        name, size, draw, title=title, caption=caption, alt=f"Heat map of layers. {title}."
    )


def short(name: str, longest: int = 22) -> str:
    """Cut the front of a long layer name."""
    return name if len(name) <= longest else "…" + name[1 - longest :]
