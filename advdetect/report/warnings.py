"""A report distrusts itself: where its figures contradict each other, or promise too much."""

from collections.abc import Iterator
from itertools import product

from advdetect.metrics import Estimate
from advdetect.report.misleading import KNOWING_CHECKS
from advdetect.report.report import NOISE_FACTOR, Report, Robustness
from advdetect.report.words import attack_words, count, nominal, percent, row_words, share

SINGLE_STEP = ("fgsm",)
ITERATIVE = ("bim", "pgd", "apgd")
DECISION_BASED = ("hop_skip_jump", "boundary")
FEWEST = 100
GAP = 0.05
# Shares of the same images differ by a little without meaning anything.
TOLERANCE = 0.005


def find_warnings(report: Report) -> tuple[str, ...]:
    """Say what in a report contradicts the rest of it, or is thinner than it looks.

    Attacks that look weaker than they should be: a single step beats an iterative attack of
    the same norm and eps, a larger eps does worse, noise does as well as an attack, a
    decision-based attack needs less than every attack with gradients, nothing succeeds.
    Detection: noise flagged at more than three times the nominal rate, fewer than 100
    successes, attacks left out of fitting found five points less often, an area under one
    half. Calibration: false alarms outside what a perfectly calibrated guard gives. The model
    and attacks that know the guard: see ``advdetect.report.misleading``.
    """
    checks = (
        _false_alarms,
        _noise_flagged,
        _left_out,
        _turned_round,
        _few_successes,
        _no_success,
        _single_step,
        _larger_eps,
        _no_better_than_noise,
        _decision_based,
        _without_gradients,
        *KNOWING_CHECKS,
    )
    return tuple(dict.fromkeys(text for check in checks for text in check(report)))


def _false_alarms(report: Report) -> Iterator[str]:
    for row in report.clean.false_alarm_rates:
        if not row.as_expected:
            yield (
                f"At a nominal {nominal(row.nominal)}, {percent(row.value)} of {count(row.n)} "
                f"clean images are flagged; a calibrated guard gives {percent(row.expected_low)} "
                f"to {percent(row.expected_high)}. The clean images may differ from those "
                "behind the p-values."
            )


def _noise_flagged(report: Report) -> Iterator[str]:
    loud: list[str] = []
    for row in report.rows(control=True):
        rates = {key: e for key, e in row.detection_rate.items() if e.n}
        high = [key for key, e in rates.items() if _above(e, NOISE_FACTOR * float(key))]
        own = f"{report.false_alarm_rate:g}"
        # One rate says it; the guard's own, unless only a stricter one is exceeded.
        for key in [own] if own in high else high[:1]:
            loud.append(f"{row_words(row)} ({percent(rates[key].value)} at {nominal(key)})")
    if loud:
        yield (
            f"Harmless noise is flagged at more than {NOISE_FACTOR} times the nominal rate: "
            f"{', '.join(loud)}. What the detector finds is in part noise, not attacks."
        )


def _left_out(report: Report) -> Iterator[str]:
    for row, unseen in report.pairs():
        seen, left_out = report.detected(row), report.detected(unseen)
        if seen.n and left_out.n and _above(seen, (left_out.value or 0) + GAP):
            yield (
                f"{row_words(row)} is found {share(seen)} of the time, but only "
                f"{share(left_out)} when attacks of its kind are left out of fitting: expect the "
                "lower figure of attacks that nobody has thought of yet."
            )


def _turned_round(report: Report) -> Iterator[str]:
    for row in report.rows():
        if row.auroc.high is not None and row.auroc.high < 0.5:
            yield (
                f"{row_words(row)} scores lower than clean images (AUROC {row.auroc.value:.3f}): "
                "the detector is turned round there."
            )


def _few_successes(report: Report) -> Iterator[str]:
    for row in report.rows():
        n = report.detected(row).n
        if 0 < n < FEWEST:
            yield (
                f"{row_words(row)} counts {n} successes only: its rates are loose, attack more "
                f"images, until at least {FEWEST} fool the model."
            )


def _no_success(report: Report) -> Iterator[str]:
    for row in _attacks(report):
        if row.success_rate.n and row.success_rate.value == 0:
            yield (
                f"{row_words(row)} succeeds on none of {count(row.success_rate.n)} images: too "
                "small an eps, or gradients that the model hides."
            )


def _single_step(report: Report) -> Iterator[str]:
    rows = _attacks(report)
    for one, many in product(rows, rows):
        pair = (one.norm, one.eps) == (many.norm, many.eps)
        if pair and _is(one, SINGLE_STEP) and _is(many, ITERATIVE) and _succeeds_less(many, one):
            yield (
                f"{row_words(many)} succeeds less often ({percent(many.success_rate.value)}) than "
                f"the single step of {row_words(one)} ({percent(one.success_rate.value)}): too "
                "few steps, or gradients that mislead."
            )


def _larger_eps(report: Report) -> Iterator[str]:
    rows = _attacks(report)
    for small, large in product(rows, rows):
        if small.attack != large.attack or small.eps is None or large.eps is None:
            continue
        if small.eps < large.eps and _succeeds_less(large, small):
            yield (
                f"{row_words(large)} succeeds less often ({percent(large.success_rate.value)}) "
                f"than {row_words(small)} ({percent(small.success_rate.value)}): the larger "
                "budget allows all that the smaller does."
            )


def _no_better_than_noise(report: Report) -> Iterator[str]:
    noise = [row for row in report.robustness if row.control and row.eps is not None]
    for row, control in product(_attacks(report), noise):
        pair = (row.norm, row.eps) == (control.norm, control.eps)
        # Noise that fools nothing is no rival; an attack that does not either is named above.
        if pair and control.success_rate.value and not _succeeds_less(control, row):
            yield (
                f"{row_words(row)} succeeds no more often ({percent(row.success_rate.value)}) "
                f"than {attack_words(control.attack, control.eps)} "
                f"({percent(control.success_rate.value)}): it finds nothing that chance does not."
            )


def _decision_based(report: Report) -> Iterator[str]:
    rows = [row for row in _attacks(report) if row.eps is None and row.median_perturbation.n]
    for blind in rows:
        rivals = [r for r in rows if r.norm == blind.norm and not _is(r, DECISION_BASED)]
        if not _is(blind, DECISION_BASED) or not rivals:
            continue
        best = min(rivals, key=lambda row: row.median_perturbation.value or 0)
        if (best.median_perturbation.low or 0) <= (blind.median_perturbation.value or 0):
            continue
        yield (
            f"{row_words(blind)} sees decisions alone, and needs less (median "
            f"{blind.median_perturbation.value:.3g}) than the best attack with gradients, "
            f"{row_words(best)} ({best.median_perturbation.value:.3g}): the gradients mislead."
        )


def _without_gradients(report: Report) -> Iterator[str]:
    rows = _attacks(report)
    for blind, seeing in product(rows, rows):
        pair = (blind.norm, blind.eps) == (seeing.norm, seeing.eps) and blind.eps is not None
        kinds = _is(blind, ("square",)) and _is(seeing, ITERATIVE)
        if pair and kinds and _succeeds_less(seeing, blind):
            yield (
                f"{row_words(blind)} takes no gradients, and succeeds more often "
                f"({percent(blind.success_rate.value)}) than {row_words(seeing)} "
                f"({percent(seeing.success_rate.value)}): the gradients mislead."
            )


def _attacks(report: Report) -> list[Robustness]:
    return [row for row in report.robustness if not row.control]


def _is(row: Robustness, kinds: tuple[str, ...]) -> bool:
    return row.attack.endswith(kinds)


def _above(estimate: Estimate, limit: float) -> bool:
    return estimate.value is not None and estimate.value > limit + 1e-9


def _succeeds_less(row: Robustness, other: Robustness) -> bool:
    return _above(other.success_rate, (row.success_rate.value or 0) + TOLERANCE)
