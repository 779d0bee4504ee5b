"""How long an ensemble holds, by what the attacker knows of it."""

import numpy as np

from advdetect.attacks.base import eps_text
from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, percent_axis, render
from advdetect.report.plots.robustness import LINES
from advdetect.report.report import Report
from advdetect.report.rows import AVERAGE, CLEAN, OUTSIDE
from advdetect.report.words import attack_words, count, percent


def members(report: Report) -> Plot | None:
    """Accuracy of the average against eps: examples of an outsider, of members, of itself."""
    rows = [
        row
        for row in report.transfer
        if row.target == AVERAGE and row.source != CLEAN and row.eps is not None
    ]
    if not rows:
        return None
    found: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row.attack.endswith("_fgsm"):
            continue
        who = row.source if row.source in (AVERAGE, OUTSIDE) else "a member"
        who = {AVERAGE: "the average", OUTSIDE: "an outside network"}.get(who, who)
        name = f"{attack_words(row.attack)} on {who}"
        found.setdefault(name, {}).setdefault(row.eps or 0.0, []).append(row.accuracy.value or 0.0)
    ticks = sorted({row.eps or 0.0 for row in rows})

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (name, points), (color, style, marker) in zip(found.items(), LINES, strict=False):
            eps = sorted(points)
            shares = [1.0, *(float(np.mean(points[e])) for e in eps)]
            axes.plot(
                [0.0, *eps],
                shares,
                color=COLORS[color],
                ls=style,
                marker=marker,
                markersize=4.5,
                label=name,
            )
        axes.set_xlim(0, 1.03 * ticks[-1])
        axes.set_ylim(0, 1.01)
        percent_axis(axes.yaxis)
        shown = [tick for i, tick in enumerate(ticks) if i == 0 or tick - ticks[i - 1] > 0.01]
        axes.set_xticks([0.0, *shown], ["0", *(eps_text(tick) for tick in shown)])
        axes.set_xlabel("eps, L\u221e norm, in pixel units")
        axes.set_ylabel("the average is right")
        axes.legend(loc="best")

    worst = min(rows, key=lambda row: row.accuracy.value or 0.0)
    title = (
        f"The average is right on {percent(worst.accuracy.value)} under "
        f"{attack_words(worst.attack, worst.eps)}"
    )
    return render(
        "members",
        (WIDTH, 3.4),
        draw,
        title=title,
        caption=(
            f"Images that every network classifies correctly, n = {count(worst.accuracy.n)}; "
            "a member stands for the mean over all members that examples were crafted on."
        ),
        alt=f"Accuracy of the ensemble against eps. {title}.",
    )
