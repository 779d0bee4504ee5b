"""Fiedler cuts: inputs in the plane, and accuracy by layer."""

import numpy as np

from advdetect.report.figures import Embedding
from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, percent_axis, render
from advdetect.report.report import Report
from advdetect.report.words import count, percent


def fiedler_embedding(embedding: Embedding | None) -> Plot | None:
    """Inputs in the plane of the softest cuts."""
    if embedding is None or not len(embedding.kind):
        return None
    x, kind = embedding.coordinates, embedding.kind
    agree = float(np.mean((x[:, 0] > 0) == (kind == 1)))
    agree = max(agree, 1 - agree)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=COLORS["ink"], lw=1, ls="--")
        for value, color, marker, label in (
            (0, "clean", "o", "clean"),
            (1, "attacked", "^", "attacked"),
        ):
            chosen = x[kind == value]
            axes.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=14,
                marker=marker,
                color=COLORS[color],
                alpha=0.6,
                linewidths=0,
                label=label,
                rasterized=len(x) > 1500,
            )
        axes.set_xlabel("Fiedler vector (the cut is at 0)")
        axes.set_ylabel("next eigenvector")
        axes.set_xticks([0])
        axes.set_yticks([0])
        axes.grid(visible=False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)

    title = f"Without a label, the softest cut puts {percent(agree)} on the side of their kind"
    which = embedding.title[:1].upper() + embedding.title[1:]
    caption = (
        f"{which}: {count(int((kind == 0).sum()))} clean and {count(int((kind == 1).sum()))} "
        "attacked inputs in the eigenvectors of their graph."
    )
    return render(
        "fiedler_embedding",
        (WIDTH, 3.4),
        draw,
        title=title,
        caption=caption,
        alt=f"Scatter plot of clean and attacked inputs. {title}.",
    )


def class_cuts(report: Report) -> Plot | None:
    """Accuracy of the cut of two classes, by layer."""
    rows = [row for row in report.class_cuts if row.accuracy.value is not None]
    if not rows:
        return None
    x = np.array([[r.accuracy.value, r.accuracy.low, r.accuracy.high] for r in rows], float).T

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        spread = [x[0] - x[1], x[2] - x[0]]
        places = np.arange(len(rows))
        axes.errorbar(places, x[0], yerr=spread, fmt="o-", color=COLORS["clean"], markersize=5)
        axes.set_xticks(places, [row.layer for row in rows], rotation=30, ha="right")
        axes.set_ylim(top=1.005)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("inputs on their class's side")
        percent_axis(axes.yaxis)

    title = (
        f"At the last layer the cut tells two classes apart {percent(float(x[0][-1]))} of the time"
    )
    caption = (
        "Mean accuracy of the Fiedler cut of two classes, by layer from input to output, over "
        f"{count(rows[-1].accuracy.n)} pairs of classes, with 95 % intervals of the mean. "
        "The axis does not start at 0."
    )
    return render(
        "class_cuts",
        (WIDTH, 3.1),
        draw,
        title=title,
        caption=caption,
        alt=f"Accuracy of the cut by layer. {title}.",
    )
