"""Networks as paths in the plane."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from advdetect.report.plots.canvas import COLORS, Figure, Plot, render
from advdetect.report.words import count

_COLORS = [COLORS[name] for name in ("clean", "attacked", "third", "fourth", "noise", "ink")]


def network_paths(
    places: Mapping[str, NDArray[np.float64]],
    target: NDArray[np.float64],
    *,
    groups: Mapping[str, str],
    images: int,
    space: str,
    stress: float,
) -> Plot:
    """Paths from the pixels to the labels, in the plane that keeps their distances best.

    Args:
        places: By network ``(layers, 2)``, from the pixels to the logits.
        target: ``(2,)`` the place of the labels.
        groups: By network, what its colour stands for: seeds of one architecture share one.
        images: How many inputs the distances were taken over.
        space: Name of the space, in words.
        stress: How badly the plane keeps the distances, 0 for exactly.
    """
    kinds = list(dict.fromkeys(groups[name] for name in places))
    lines = ("-", "--", ":", "-.")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, points in places.items():
            kind = kinds.index(groups[name])
            color = _COLORS[kind % len(_COLORS)]
            first = next(other for other in places if groups[other] == groups[name]) == name
            axes.plot(
                *points.T,
                color=color,
                ls=lines[kind // len(_COLORS) % len(lines)],
                lw=1.4,
                marker="o",
                markersize=3.2,
                alpha=0.85,
                label=groups[name] if first else None,
            )
            axes.plot(*points[-1], marker="s", color=color, markersize=5)
        start = next(iter(places.values()))[0]
        for place, text, marker in ((start, "pixels", "D"), (target, "labels", "*")):
            axes.plot(*place, marker=marker, color=COLORS["ink"], markersize=8, ls="")
            axes.annotate(
                text,
                (place[0], place[1]),
                xytext=(0, -14),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
            )
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("radians")
        axes.margins(0.12)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)

    title = "Paths of the layers, from the pixels to the labels"
    caption = (
        f"Layers (dots; a square for the logits) of {count(len(places))} networks in {space}, "
        f"over {count(images)} images, laid into the plane by multidimensional scaling: "
        f"distances are off by {100 * stress:.0f} % (root mean square)."
    )
    return render(
        "paths", (5.6, 4.6), draw, title=title, caption=caption, alt=f"{title}. {caption}"
    )
