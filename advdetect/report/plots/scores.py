"""The scores of clean images against those of attacks."""

import numpy as np
from numpy.typing import NDArray

from advdetect.report.figures import Figures
from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, percent_axis, render
from advdetect.report.report import DetectionRow, Report
from advdetect.report.words import attack_words, between, count, percent

HIGHLIGHTS = (("attacked", "-"), ("third", (0, (5, 1.5))), ("fourth", (0, (1.5, 1))))


def roc_curves(report: Report, figures: Figures) -> Plot | None:
    """Detection against false alarms, the latter on a logarithmic axis."""
    scores = {k: np.sort(v) for k, v in figures.scores.items() if len(v)}
    attacks = [k for k in scores if k not in figures.controls]
    n = len(figures.clean_scores)
    if not attacks or not n:
        return None
    alarms = np.unique(np.geomspace(1, n, 160).round().astype(int))
    thresholds = np.sort(figures.clean_scores)[n - alarms]
    curves = {
        k: 1 - np.searchsorted(v, thresholds, side="left") / len(v) for k, v in scores.items()
    }
    at = int(np.searchsorted(alarms, max(1, int(0.01 * n)), side="right")) - 1
    worst = sorted(attacks, key=lambda k: curves[k][at])[: len(HIGHLIGHTS)]
    areas = {row.budget: row.auroc.value for row in _guards_rows(report)}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        x = alarms / n
        for key in [k for k in attacks if k not in worst]:
            label = "other attacks" if key == next(k for k in attacks if k not in worst) else None
            axes.plot(x, curves[key], color=COLORS["muted"], alpha=0.45, lw=0.9, label=label)
        for i, key in enumerate(k for k in scores if k in figures.controls):
            label = None if i else "noise"
            axes.plot(x, curves[key], color=COLORS["noise"], ls=":", lw=1.2, label=label)
        for key, (color, style) in zip(worst, HIGHLIGHTS, strict=False):
            area = areas.get(key)
            label = attack_words(key) + (f", AUROC {area:.3f}" if area is not None else "")
            axes.plot(x, curves[key], color=COLORS[color], ls=style, label=label)
        axes.plot(x, x, color=COLORS["ink"], lw=0.8, ls="--", label="chance")
        axes.set_xscale("log")
        axes.set_xlim(1 / n, 1)
        axes.set_ylim(0, 1.01)
        axes.set_xticks([t for t in (0.001, 0.01, 0.05, 0.1, 1) if t >= 1 / n])
        axes.minorticks_off()
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        axes.set_xlabel("false alarms among clean images (logarithmic)")
        axes.set_ylabel("attacks found")
        axes.legend(loc="lower right")

    low = curves[worst[0]][at]
    title = f"At 1 % false alarms {percent(float(low))} of {attack_words(worst[0])} is still found"
    caption = (
        f"ROC curves over {count(n)} clean images and "
        f"{between([len(scores[k]) for k in attacks])} successes per attack; "
        "the three attacks found least at 1 % are named."
    )
    return render(
        "roc", (WIDTH, 3.7), draw, title=title, caption=caption, alt=f"ROC curves. {title}."
    )


def score_histograms(report: Report, figures: Figures) -> Plot | None:
    """Scores of clean images, of all attacks, of the worst, and of noise."""
    attacks = {k: v for k, v in figures.scores.items() if len(v) and k not in figures.controls}
    noise = [v for k, v in figures.scores.items() if len(v) and k in figures.controls]
    clean = figures.clean_scores
    if not attacks or not len(clean):
        return None
    every = np.concatenate([clean, *attacks.values()])
    low, high = np.percentile(every, [0.5, 99.5])
    bins = np.linspace(low, high, 61)
    worst = _worst_key(report, attacks)

    def bars(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Shares by bin; every attack weighs the same, outliers fall in the last bins."""
        counts = [np.histogram(np.clip(p, low, high), bins)[0] / len(p) for p in parts]
        return np.mean(counts, axis=0)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        filled = (("clean", "clean images", [clean]), ("attacked", "attacks", [*attacks.values()]))
        for color, label, parts in filled:
            axes.stairs(bars(parts), bins, fill=True, color=COLORS[color], alpha=0.5, label=label)
        axes.stairs(
            bars([attacks[worst]]),
            bins,
            color=COLORS["fourth"],
            lw=1.5,
            label=f"worst: {attack_words(worst)}",
        )
        if noise:
            axes.stairs(bars(noise), bins, color=COLORS["ink"], ls=":", lw=1.3, label="noise")
        if figures.threshold is not None:
            axes.axvline(figures.threshold, color=COLORS["ink"], lw=1, ls="--")
            axes.annotate(
                "flagged \u2192",
                (figures.threshold, 0.98),
                xytext=(4, 0),
                textcoords="offset points",
                xycoords=("data", "axes fraction"),
                va="top",
            )
        percent_axis(axes.yaxis)
        axes.set_xlabel(f"score of the {report.detector} detector (higher: more adversarial)")
        axes.set_ylabel("share of inputs per bin")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)

    quiet = float(np.mean(attacks[worst] <= np.median(clean)))
    title = f"{percent(quiet)} of {attack_words(worst)} scores below the median clean image"
    caption = (
        f"{count(len(clean))} clean images, {count(sum(map(len, attacks.values())))} successes of "
        f"{len(attacks)} attacks (each attack weighs the same)"
        + (f", {count(sum(map(len, noise)))} images with noise" if noise else "")
        + ". The outermost bins hold what lies beyond."
    )
    return render(
        "score_histograms",
        (WIDTH, 3.3),
        draw,
        title=title,
        caption=caption,
        alt=f"Histograms of scores. {title}.",
    )


def _guards_rows(report: Report) -> tuple[DetectionRow, ...]:
    """The guard's own rows, those it was fitted on before those it was not."""
    return (*report.rows(fitted_on_it=False), *report.rows(fitted_on_it=True))


def _worst_key(report: Report, attacks: dict[str, NDArray[np.float64]]) -> str:
    row = report.worst() or report.worst(fitted_on_it=False)
    if row is not None and row.budget in attacks:
        return row.budget
    return min(attacks, key=lambda key: float(np.median(attacks[key])))
