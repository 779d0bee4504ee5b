"""The scores of clean images against those of attacks."""

import numpy as np
from numpy.typing import NDArray

from advdetect.report.figures import Figures
from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, percent_axis, render
from advdetect.report.report import Report
from advdetect.report.words import (
    attack_words,
    between,
    count,
    decimal,
    nominal,
    percent,
    row_words,
)

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
    rows = {row.budget: row for row in report.rows()}
    # The report's own figure, at thresholds from calibration images, where there is one.
    rates = [key for row in rows.values() for key in row.detection_rate]
    strict = min(rates, default="0.01", key=float)
    found = {k: float(np.interp(float(strict), alarms / n, curves[k])) for k in attacks}
    for k, row in rows.items():
        if k in found:
            found[k] = row.detection_rate[strict].value or 0.0
    least = sorted(attacks, key=lambda k: found[k])
    named, others = least[: len(HIGHLIGHTS)], least[len(HIGHLIGHTS) :]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        x = alarms / n
        for i, key in enumerate(others):
            label = None if i else "other attacks"
            axes.plot(x, curves[key], color=COLORS["muted"], alpha=0.5, lw=0.9, label=label)
        for i, key in enumerate(k for k in scores if k in figures.controls):
            label = None if i else "noise"
            axes.plot(x, curves[key], color=COLORS["noise"], ls=":", lw=1.2, label=label)
        for key, (color, style) in zip(named, HIGHLIGHTS, strict=False):
            area = f", AUROC {decimal(rows[key].auroc.value)}" if key in rows else ""
            label = attack_words(key) + area
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
        axes.legend(loc="best")

    at, worst = nominal(strict), named[0]
    title = f"At {at} false alarms {percent(found[worst])} of {attack_words(worst)} is still found"
    caption = (
        f"ROC curves over {count(n)} clean images and "
        f"{between([len(scores[k]) for k in attacks])} successes per attack; "
        f"the attacks found least at {at} are named, noise is dotted."
    )
    return render(
        "roc", (WIDTH, 3.5), draw, title=title, caption=caption, alt=f"ROC curves. {title}."
    )


def score_histograms(report: Report, figures: Figures) -> Plot | None:
    """Scores of clean images, of all attacks, of the worst, and of noise."""
    attacks = {k: v for k, v in figures.scores.items() if len(v) and k not in figures.controls}
    noise = [v for k, v in figures.scores.items() if len(v) and k in figures.controls]
    clean = figures.clean_scores
    if not attacks or not len(clean):
        return None
    ends = np.array([np.percentile(part, [0.5, 99.5]) for part in (clean, *attacks.values())])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    bins = np.linspace(low, high, 61) if high > low else np.linspace(low - 1, low + 1, 61)
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

    rate = nominal(report.false_alarm_rate)
    row = report.worst()
    title = f"Where {rate} of clean images are flagged, so is {attack_words(worst)}"
    if row is not None:
        share = percent(report.detected(row).value)
        title = f"{share} of the worst attack, {row_words(row)}, lies beyond the {rate} threshold"
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


def _worst_key(report: Report, attacks: dict[str, NDArray[np.float64]]) -> str:
    row = report.worst()
    if row is not None and row.budget in attacks:
        return row.budget
    return min(attacks, key=lambda key: float(np.median(attacks[key])))
