"""Clean and attacked pictures side by side."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from advdetect.report.figures import PictureRow
from advdetect.report.plots.canvas import WIDTH, Figure, Plot, render
from advdetect.report.words import attack_words

BESIDE = 2


def pictures(rows: tuple[PictureRow, ...], controls: Collection[str] = ()) -> Plot | None:
    """Clean picture, perturbation and attacked picture, with verdicts."""
    if not rows:
        return None

    lines = -(-len(rows) // BESIDE)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(lines, 3 * BESIDE, squeeze=False).reshape(-1, 3)
        for line, row in zip(grid, rows, strict=False):
            shown, factor = perturbation(row)
            texts = (
                f"{row.clean_label}\n{verdict(row.clean_p_value, row.clean_flagged)}",
                f"{attack_words(row.attack)}\n\u00d7 {factor}",
                f"{row.attacked_label}\n{verdict(row.attacked_p_value, row.attacked_flagged)}",
            )
            trio = (row.clean, shown, row.attacked)
            for axes, picture, text in zip(line, trio, texts, strict=True):
                pixels = np.clip(np.moveaxis(picture, 0, -1), 0, 1)
                grey = pixels.shape[-1] == 1
                axes.imshow(pixels[..., 0] if grey else pixels, cmap="gray", vmin=0, vmax=1)
                axes.set_title(text, fontsize=7.5)
        for axes in grid.flat:
            axes.set_axis_off()

    attacked = [row.attacked_flagged for row in rows if row.attack not in controls]
    noisy = [row.attacked_flagged for row in rows if row.attack in controls]
    title = f"Flagged: {sum(attacked)} of {len(attacked)} attacked pictures"
    if noisy:
        title += f", and {sum(noisy)} of {len(noisy)} with noise"
    caption = (
        "Clean picture, perturbation (about mid-grey, amplified by the factor written) and "
        "attacked picture, with what the model sees and what the guard says."
    )
    return render(
        "pictures",
        (2 * WIDTH, 2.1 * lines),
        draw,
        title=title,
        caption=caption,
        alt=f"Grid of clean and attacked pictures. {title}.",
    )


def perturbation(row: PictureRow) -> tuple[NDArray[np.float32], int]:
    """The difference about mid-grey, amplified by a whole number, and that number."""
    difference = row.attacked.astype(np.float32) - row.clean.astype(np.float32)
    most = float(np.abs(difference).max())
    factor = max(1, int(0.5 / most)) if most > 0 else 1
    return 0.5 + factor * difference, factor


def verdict(p_value: float, flagged: bool) -> str:
    """What a guard said: ``flagged, p = 0.001``."""
    return f"{'flagged' if flagged else 'passed'}, p = {p_value:.2g}"
