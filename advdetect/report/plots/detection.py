"""How often attacks are found: by attack, and by layer and feature family."""

import numpy as np

from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, percent_axis, render
from advdetect.report.report import LayerRow, Report
from advdetect.report.words import attack_words, between, nominal, percent


def detection_by_attack(report: Report) -> Plot | None:
    """A dot and its interval per attack, fitted and left out."""
    kinds = {
        "fitted on": tuple(row for row in report.rows() if row.fitted_on_it),
        "left out of fitting": report.rows(left_out=True),
    }
    found = {
        label: {row.budget: (row, report.detected(row)) for row in rows if report.detected(row).n}
        for label, rows in kinds.items()
    }
    every: dict[str, list[float]] = {}
    for rows in found.values():
        for budget, (_, estimate) in rows.items():
            every.setdefault(budget, []).append(estimate.value or 0.0)
    if not every:
        return None
    order = sorted(every, key=lambda budget: -min(every[budget]))
    both = all(found.values())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        styles = (("clean", "o", True), ("attacked", "D", False))
        for (label, rows), (color, marker, filled) in zip(found.items(), styles, strict=True):
            shift = 0.16 * (1 if filled else -1) * both
            chosen = [(order.index(b) + shift, e) for b, (_, e) in rows.items()]
            if not chosen:
                continue
            x = np.array([[e.value, e.low, e.high] for _, e in chosen], float).T
            axes.errorbar(
                x[0],
                [y for y, _ in chosen],
                xerr=[x[0] - x[1], x[2] - x[0]],
                fmt=marker,
                color=COLORS[color],
                markerfacecolor=COLORS[color] if filled else "none",
                markersize=5,
                elinewidth=1.4,
                label=label,
            )
        axes.set_yticks(range(len(order)), [attack_words(budget) for budget in order])
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xlabel(f"found, at {nominal(report.false_alarm_rate)} false alarms")
        axes.set_xlim(right=1 + 0.03 * (1 - axes.get_xlim()[0]))
        axes.grid(axis="y", visible=False)
        percent_axis(axes.xaxis)
        if both:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)

    least = min(map(min, every.values()))
    worst = attack_words(order[-1])
    title = f"{worst} is found least, {percent(least)} of the time"
    if both and order[-1] in found["fitted on"] and order[-1] in found["left out of fitting"]:
        seen, unseen = (rows[order[-1]][1].value for rows in found.values())
        title = f"{worst} is found least: {percent(seen)}, left out {percent(unseen)}"
    counts = [report.detected(row).n for rows in kinds.values() for row in rows]
    caption = (
        f"Share of successful attacks flagged, with 95 % Wilson intervals, for "
        f"{between([n for n in counts if n])} successes per attack. The axis does not start at 0."
    )
    return render(
        "detection_by_attack",
        (WIDTH, 1.1 + 0.27 * len(order)),
        draw,
        title=title,
        caption=caption,
        alt=f"Dot plot of the detection rate by attack: {title}.",
    )


def by_layer(report: Report) -> list[Plot]:
    """Heat maps of detection by layer and feature family, one per group of attacks."""
    groups = dict.fromkeys(row.attacks for row in report.layers)
    return [
        _heat_map(
            f"by_layer{f'_{i + 1}' if i else ''}",
            group,
            [r for r in report.layers if r.attacks == group],
        )
        for i, group in enumerate(groups)
    ]


def _heat_map(name: str, group: str, rows: list[LayerRow]) -> Plot:
    layers = list(dict.fromkeys(row.layer for row in rows))
    families = list(dict.fromkeys(row.family for row in rows))
    shares = np.full((len(layers), len(families)), np.nan)
    for row in rows:
        if row.detection_rate.value is not None:
            shares[layers.index(row.layer), families.index(row.family)] = row.detection_rate.value

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        mesh = axes.pcolormesh(np.ma.masked_invalid(shares), cmap="cividis", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(shares):
            if np.isfinite(value):
                shade = "#111111" if value > 0.6 else "#ffffff"
                axes.text(
                    j + 0.5, i + 0.5, f"{100 * value:.0f}", color=shade, ha="center", va="center"
                )
        crowded = sum(map(len, families)) > 24
        axes.set_xticks(
            np.arange(len(families)) + 0.5,
            families,
            rotation=20 if crowded else 0,
            ha="right" if crowded else "center",
        )
        axes.set_yticks(np.arange(len(layers)) + 0.5, layers)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.tick_params(length=0)
        bar = figure.colorbar(mesh, ax=axes, pad=0.02)
        percent_axis(bar.ax.yaxis)
        bar.outline.set_visible(False)

    best = max(rows, key=lambda row: row.detection_rate.value or 0.0)
    title = (
        f"The best single layer: {best.family} at {best.layer}, "
        f"{percent(best.detection_rate.value)} found at 5 % false alarms"
    )
    caption = (
        f"Detection rate in percent at 5 % false alarms from one layer's columns of one feature "
        f"family, deepest layer last; {group}, n = {between([r.detection_rate.n for r in rows])}."
    )
    return render(
        name,
        (WIDTH, 1.0 + 0.3 * len(layers)),
        draw,
        title=title,
        caption=caption,
        alt=f"Heat map of detection by layer and feature family. {title}.",
    )
