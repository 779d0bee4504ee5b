"""Figures by layer, or by size: one line a series, with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from advdetect.metrics import Estimate
from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, render

_COLORS = [COLORS[name] for name in ("clean", "attacked", "third", "fourth", "noise", "ink")]
_MARKERS = "os^Dvx"


def line_plot(
    name: str,
    series: Mapping[str, Sequence[Estimate]],
    ticks: Sequence[str],
    *,
    x_title: str = "",
    y_title: str,
    title: str,
    caption: str,
) -> Plot:
    """Draw estimates along layers or sizes.

    Args:
        name: Of the file.
        series: By what a line stands for, an estimate at each tick.
        ticks: What stands at each place, in order.
        x_title: What the ticks are.
        y_title: What is measured.
        title: What is seen, in a sentence.
        caption: What was counted, and how many.
    """
    places = np.arange(len(ticks))
    # Names stand above the axes, in columns as wide as the longest, as many as fit.
    across = max(1, min(len(series), 44 // (max(map(len, series)) + 6)))
    height = 3.1 + 0.18 * -(-len(series) // across)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for i, (label, estimates) in enumerate(series.items()):
            value, low, high = np.array(
                [(e.value, e.low, e.high) for e in estimates], dtype=float
            ).T
            color = _COLORS[i % len(_COLORS)]
            marker = _MARKERS[i % len(_MARKERS)]
            axes.plot(places, value, marker=marker, markersize=4, color=color, label=label)
            axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
        upright = max(map(len, ticks)) > 6
        axes.set_xticks(
            places, ticks, rotation=35 if upright else 0, ha="right" if upright else "center"
        )
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(y_title)
        axes.set_xlabel(x_title)
        if len(series) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=across, borderaxespad=0)

    return render(
        name,
        (WIDTH, height),
        draw,
        title=title,
        caption=caption,
        alt=f"Lines of {y_title} by {x_title or 'layer'}. {title}.",
    )
