"""Attacks and figures in the words that people read."""

from collections.abc import Sequence

from advdetect.attacks.base import eps_text
from advdetect.metrics import Estimate
from advdetect.report.report import DetectionRow, Report, Robustness

_NAMES = {
    "fgsm": "FGSM",
    "bim": "BIM",
    "pgd": "PGD",
    "pgd_jpeg": "PGD, then JPEG",
    "half_pixel": "half a pixel's shift",
    "jpeg": "JPEG",
    "apgd": "APGD",
    "fab": "FAB",
    "fmn": "FMN",
    "deepfool": "DeepFool",
    "carlini_wagner": "Carlini-Wagner",
    "hop_skip_jump": "HopSkipJump",
    "gaussian_noise": "Gaussian noise",
    "apgd_ce": "APGD, cross-entropy",
    "apgd_targeted": "APGD, targeted",
    "square": "Square",
    "strong": "strong cascade",
    "reweighted": "re-weighted members",
    "selective_pgd": "selective PGD",
    "orthogonal_pgd": "orthogonal PGD",
    "joint_pgd": "joint PGD",
    "guard_square": "Square on the guard",
    "guard_boundary": "HopSkipJump on the guard",
}
_NORMS = {"linf": "L\u221e", "l2": "L2", "l1": "L1", "l0": "L0"}


def attack_words(attack: str, eps: float | str | None = None) -> str:
    """Name an attack for a reader: ``PGD L2 0.5``, ``DeepFool L2`` where it seeks the least.

    Args:
        attack: Its name in ``ATTACKS``, or a budget as text (``l2_pgd 0.5``).
        eps: In pixel units, or as text.
    """
    name, _, rest = attack.partition(" ")
    norm, _, kind = name.partition("_")
    if norm not in _NORMS:
        norm, kind = "", name
    words = _NAMES.get(kind, kind.replace("_", " "))
    size = eps_text(eps) if isinstance(eps, float) else eps or rest
    return " ".join(part for part in (words, _NORMS.get(norm, ""), size) if part)


def norm_words(norm: str) -> str:
    """Name a norm for a reader."""
    return _NORMS.get(norm, norm)


def row_words(row: DetectionRow | Robustness) -> str:
    """Name the attack of a report's row."""
    return attack_words(row.attack, row.eps)


def percent(value: float | None) -> str:
    """A share with one decimal; never 0 or 100 % unless it is."""
    if value is None:
        return "none"
    if value in (0, 1):
        return f"{100 * value:.0f} %"
    if value < 0.0005:
        return "< 0.1 %"
    if value > 0.9995:
        return "> 99.9 %"
    return f"{100 * value:.1f} %"


def decimal(value: float | None) -> str:
    """An area with three decimals; never 1 unless it is."""
    if value is None:
        return "none"
    if value in (0, 1):
        return f"{value:.0f}"
    return "> 0.999" if value > 0.9995 else f"{value:.3f}"


def percent_range(low: float, high: float) -> str:
    """Two shares: ``94.1 to 96.2 %``."""
    return f"{percent(low).removesuffix(' %')} to {percent(high)}"


def share_range(estimate: Estimate) -> str:
    """The interval of a share: ``94.1 to 96.2 %``."""
    if estimate.low is None or estimate.high is None:
        return "no examples"
    return percent_range(estimate.low, estimate.high)


def share(estimate: Estimate) -> str:
    """A share and its interval: ``95.3 % [94.1 to 96.2 %]``."""
    if estimate.value is None:
        return "no examples"
    return f"{percent(estimate.value)} [{share_range(estimate)}]"


def count(n: int) -> str:
    """A number of examples, thousands apart."""
    return f"{n:,}"


def between(counts: Sequence[int]) -> str:
    """The least and the greatest of some counts."""
    low, high = min(counts, default=0), max(counts, default=0)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def nominal(rate: float | str) -> str:
    """A false-alarm rate: ``5 %``, ``0.5 %``."""
    return f"{100 * float(rate):g} %"


def headline(report: Report) -> str:
    """What the guard is worth, in two or three sentences."""
    at = f"at a {nominal(report.false_alarm_rate)} false-alarm rate"
    worst, unseen = report.worst(), report.worst(left_out=True)
    if worst is None:
        return f"No attack fooled {report.model}: nothing can be said of the guard."
    first = (
        f"Of the attacked images that fooled {report.model}, the guard flags "
        f"{share(report.detected(worst))} on its worst attack, {row_words(worst)}, {at}."
    )
    parts = [first]
    if not any(row.fitted_on_it for row in report.rows()):
        parts.append("It was fitted on none of these attacks.")
    elif unseen is not None:
        parts.append(
            "Where each kind of attack was left out of fitting, its worst is "
            f"{share(report.detected(unseen))}, {row_words(unseen)}."
        )
    noise = report.loudest_noise()
    if noise is not None:
        flagged = share(report.detected(noise))
        parts.append(f"It also flags {flagged} of images with harmless {row_words(noise)}.")
    known = report.evasion_at_a_small_budget()
    if known is not None:
        budget = attack_words(f"{known.norm}_", known.eps).strip()
        parts.append(
            f"An attacker who knows the guard gets {share(report.evaded(known))} of correctly "
            f"classified images past both at {budget}."
        )
    return " ".join(parts)
