"""How often an attacker who knows the guard gets past it."""

import numpy as np

from advdetect.attacks.base import eps_text
from advdetect.metrics import Estimate
from advdetect.report.plots.canvas import COLORS, WIDTH, Figure, Plot, percent_axis, render
from advdetect.report.plots.robustness import LINES
from advdetect.report.report import ALL, Report
from advdetect.report.words import attack_words, between, nominal, norm_words, percent


def evasion(report: Report) -> list[Plot]:
    """Success against eps, a figure per norm: every attack, and all of them together."""
    return [_evasion(report, norm) for norm in dict.fromkeys(row.norm for row in report.evasion())]


def _evasion(report: Report, norm: str) -> Plot:
    rows = [r for r in report.knowing if r.norm == norm and r.detector == report.detector]
    budgets = sorted({row.eps or 0.0 for row in rows})
    series: dict[str, list[Estimate]] = {}
    for name in sorted(dict.fromkeys(row.attack for row in rows), key=lambda name: name != ALL):
        own = {row.eps: report.evaded(row) for row in rows if row.attack == name}
        if len(own) == len(budgets):
            series[name] = [own[eps] for eps in budgets]
    first, *others = series
    places = np.arange(len(budgets))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        value, low, high = np.array(
            [(e.value, e.low, e.high) for e in series[first]], dtype=float
        ).T
        axes.fill_between(places, low, high, color=COLORS["attacked"], alpha=0.15, linewidth=0)
        styles = iter([*LINES[1:], ("noise", "-", "x"), ("clean", ":", "+")] * 3)
        for name in others:
            color, style, marker = next(styles)
            shares = np.array([e.value for e in series[name]], dtype=float)
            axes.plot(
                places,
                shares,
                color=COLORS[color],
                ls=style,
                lw=1,
                zorder=3,  # above the thick line, on which the best of them lies
                marker=marker,
                markersize=4,
                label=_name(name),
            )
        axes.plot(places, value, color=COLORS["attacked"], lw=2.2, marker="o", label=_name(first))
        axes.set_xticks(places, [eps_text(eps) for eps in budgets])
        axes.set_ylim(-0.02, 1.02)
        percent_axis(axes.yaxis)
        axes.set_xlabel(f"eps, {norm_words(norm)} norm, in pixel units")
        axes.set_ylabel("misclassified and not flagged")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)

    at = min(range(len(budgets)), key=lambda i: abs(budgets[i] - 8 / 255))
    title = (
        f"{percent(series[first][at].value)} of images get past classifier and guard at "
        f"{norm_words(norm)} {eps_text(budgets[at])}"
    )
    counts = between([estimate.n for own in series.values() for estimate in own])
    return render(
        f"evasion_{norm}",
        (WIDTH, 4.2),
        draw,
        title=title,
        caption=(
            f"Attacks that know the guard: share of {counts} images classified correctly that end "
            f"misclassified and not flagged at {nominal(report.false_alarm_rate)} false alarms; "
            "band: 95 %. With a large enough eps an image may become any other."
        ),
        alt=f"Success of knowing attacks against eps. {title}.",
    )


def _name(attack: str) -> str:
    return attack if attack == ALL else attack_words(attack)
