"""How often an attacker who knows the guard gets past it."""

from advdetect.attacks.base import eps_text
from advdetect.report.plots.canvas import Plot
from advdetect.report.plots.lines import line_plot
from advdetect.report.report import ALL, Report
from advdetect.report.words import attack_words, between, nominal, norm_words, percent


def evasion(report: Report) -> list[Plot]:
    """Success against eps, a figure per norm: every attack, and all of them together."""
    norms = dict.fromkeys(row.norm for row in report.evasion())
    return [_evasion(report, norm) for norm in norms]


def _evasion(report: Report, norm: str) -> Plot:
    rows = [r for r in report.knowing if r.norm == norm and r.detector == report.detector]
    budgets = sorted({row.eps or 0.0 for row in rows})
    names = sorted({row.attack for row in rows}, key=lambda name: name != ALL)
    series = {}
    for name in names:
        own = {row.eps: report.evaded(row) for row in rows if row.attack == name}
        if len(own) == len(budgets):
            series[ALL if name == ALL else attack_words(name)] = [own[eps] for eps in budgets]
    whole = next(iter(series.values()))
    middle = len(budgets) // 2
    at = nominal(report.false_alarm_rate)
    title = (
        f"{percent(whole[middle].value)} of images evade classifier and guard at "
        f"{norm_words(norm)} {eps_text(budgets[middle])}"
    )
    counts = between([estimate.n for own in series.values() for estimate in own])
    return line_plot(
        f"evasion_{norm}",
        series,
        [eps_text(eps) for eps in budgets],
        x_title=f"eps, {norm_words(norm)} norm, in pixel units",
        y_title="misclassified and not flagged",
        title=title,
        caption=(
            f"Attacks that know the guard; share of {counts} "
            f"images classified correctly that end misclassified and not flagged at {at} false "
            "alarms; bands: 95 %. At the right end an image may become any other."
        ),
    )
