"""What attacks do to the classifier alone."""

import numpy as np
from numpy.typing import NDArray

from advdetect.attacks.base import eps_text
from advdetect.report.figures import Figures
from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, percent_axis, render
from advdetect.report.report import Report
from advdetect.report.words import attack_words, between, norm_words, percent, row_words

LINES = (
    ("attacked", "-", "o"),
    ("clean", (0, (5, 1.5)), "s"),
    ("third", (0, (1.5, 1)), "^"),
    ("fourth", (0, (4, 1, 1, 1)), "D"),
    ("ink", "-", "v"),
    ("muted", (0, (5, 1.5)), "P"),
)


def robust_accuracy(report: Report, figures: Figures) -> list[Plot]:
    """Accuracy under attack against eps, a figure per norm."""
    norms = dict.fromkeys(
        [row.norm for row in report.robustness if row.eps is not None]
        + [norm for _, _, norm in figures.curves.values()]
    )
    return [_robust_accuracy(report, figures, norm) for norm in norms]


def _robust_accuracy(report: Report, figures: Figures, norm: str) -> Plot:
    clean = report.clean.accuracy.value or 0.0
    lines: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
        name: (eps, shares) for name, (eps, shares, of) in figures.curves.items() if of == norm
    }
    rows = [row for row in report.robustness if row.norm == norm and row.eps is not None]
    noise = {row.attack for row in rows if row.control}
    for name in dict.fromkeys(row.attack for row in rows if row.attack not in lines):
        points = sorted(
            (row.eps or 0.0, row.robust_accuracy.value or 0.0) for row in rows if row.attack == name
        )
        lines[name] = tuple(np.array([(0.0, clean), *points]).T)
    reach = max(max(eps) for eps, _ in lines.values())
    fixed = max((row.eps or 0.0 for row in rows), default=reach)
    reach = min(reach, 1.25 * fixed)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        styles = iter(LINES * 4)
        for name, (eps, shares) in lines.items():
            whole = len(eps) > 12
            color, style, marker = ("noise", ":", "x") if name in noise else next(styles)
            axes.plot(
                eps,
                shares,
                color=COLORS[color],
                ls=style,
                marker="" if whole else marker,
                markersize=4.5,
                label=attack_words(name),
            )
        axes.set_xlim(0, 1.03 * reach)
        axes.set_ylim(0, 1.01)
        percent_axis(axes.yaxis)
        ticks = _apart(sorted({0.0, *(row.eps or 0.0 for row in rows)}), 0.08 * reach)
        if len(ticks) > 1:
            axes.set_xticks(ticks, [eps_text(eps) for eps in ticks])
        axes.set_xlabel(f"eps, {norm_words(norm)} norm, in pixel units")
        axes.set_ylabel("still predicted right")
        axes.legend(loc="best")

    worst = min(
        (row for row in rows if not row.control),
        key=lambda row: row.robust_accuracy.value or 0.0,
        default=None,
    )
    words = norm_words(norm)
    title = (
        f"{percent(worst.robust_accuracy.value)} stays right under {row_words(worst)}"
        if worst is not None
        else f"Robust accuracy falls with the {words} budget"
    )
    counts = [row.robust_accuracy.n for row in rows]
    caption = (
        f"Accuracy of the classifier alone under {words} attacks; at eps 0, clean images. "
        f"Markers are attacks run at that eps"
        + (f", on {between(counts)} images" if counts else "")
        + "; lines without markers follow from the smallest perturbation found per image."
    )
    return render(
        f"robust_accuracy_{norm}",
        (WIDTH, 3.4),
        draw,
        title=title,
        caption=caption,
        alt=f"Robust accuracy against eps. {title}.",
    )


def _apart(values: list[float], gap: float) -> list[float]:
    """Leave out values that come too close after the one before."""
    kept: list[float] = []
    for value in values:
        if not kept or value - kept[-1] >= gap:
            kept.append(value)
    return kept
