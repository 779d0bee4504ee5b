"""What makes attacks look weaker than they are: the model's own doing, or the attacks'."""

from collections.abc import Iterator

from advdetect.report.report import ALL, CONVERGED, Report
from advdetect.report.words import attack_words, nominal, percent

BLIND = ("guard_square", "guard_boundary")  # knowing attacks that take no gradients
TOLERANCE = 0.005


def _probabilities(report: Report) -> Iterator[str]:
    if report.checks.get("probabilities", 0) > 0.5:
        yield (
            "The model's outputs look like probabilities: their gradients vanish where it is "
            "sure. Give it logits, without the softmax."
        )


def _random(report: Report) -> Iterator[str]:
    share = report.checks.get("random", 0)
    if share:
        yield (
            f"The model is random: asked again, it answers {percent(share)} of the images looked "
            "at otherwise. Attacks that do not average over it look weaker than they are."
        )


def _zero_gradients(report: Report) -> Iterator[str]:
    share = report.checks.get("zero_gradients", 0)
    if share > 0.05:
        yield (
            f"The gradient is exactly 0 for {percent(share)} of the images looked at: attacks "
            "that follow gradients find nothing there, whether or not there is something."
        )


def _exploding_gradients(report: Report) -> Iterator[str]:
    share = report.checks.get("exploding_gradients", 0)
    if share:
        yield (
            f"The gradient is not finite, or larger than a million, for {percent(share)} of the "
            "images looked at: attacks that follow gradients may be lost."
        )


def _eps_0(report: Report) -> Iterator[str]:
    share = report.checks.get("eps_0_changes", 0)
    if share:
        yield (
            f"An attack with eps 0 changes the prediction of {percent(share)} of the images looked "
            "at: what is measured is not the attack alone."
        )


def _not_converged(report: Report) -> Iterator[str]:
    for row in report.convergence:
        if row.change >= CONVERGED:
            yield (
                f"{attack_words(row.attack, row.eps)} has not converged: with twice the effort its "
                f"success at {nominal(report.false_alarm_rate)} false alarms goes from "
                f"{percent(row.success.value)} to "
                f"{percent(max(row.twice_the_steps.value or 0, row.twice_the_restarts.value or 0))}"
                ". The true figure may be higher still."
            )


def _never_all(report: Report) -> Iterator[str]:
    rows = report.evasion()
    if rows and max(report.evaded(row).value or 0 for row in rows) < 1 - TOLERANCE:
        most = max(rows, key=lambda row: report.evaded(row).value or 0)
        yield (
            f"No budget tried lets attacks that know the guard past it for every image (at most "
            f"{percent(report.evaded(most).value)}): with a budget large enough any image can "
            "become any other, so the attacks are weaker than they could be."
        )


def _blind_beats_seeing(report: Report) -> Iterator[str]:
    own = [r for r in report.knowing if r.detector == report.detector and r.attack != ALL]
    for blind in own:
        rivals = [
            report.evaded(row).value or 0
            for row in own
            if (row.norm, row.eps) == (blind.norm, blind.eps) and not row.attack.endswith(BLIND)
        ]
        found = report.evaded(blind).value or 0
        if blind.attack.endswith(BLIND) and rivals and found > max(rivals) + TOLERANCE:
            yield (
                f"{attack_words(blind.attack, blind.eps)} takes no gradients, and gets more images "
                f"past the guard ({percent(found)}) than every attack with gradients "
                f"({percent(max(rivals))}): the gradients mislead."
            )


def _knowing_too_little(report: Report) -> Iterator[str]:
    """An attack that does not know the guard gets past it more often than those that do."""
    known = {(row.norm, row.eps): report.evaded(row).value or 0 for row in report.evasion()}
    for row in report.robustness:
        found = known.get((row.norm, row.eps))
        accuracy = report.clean.accuracy.value or 1.0
        passed = (1 - (row.guarded_accuracy.value or 1.0)) - (1 - accuracy)
        if found is not None and not row.control and passed / accuracy > found + 0.05:
            yield (
                f"{attack_words(row.attack, row.eps)}, which does not know the guard, gets past it "
                f"for {percent(passed / accuracy)} of the images, attacks that know it for "
                f"{percent(found)}: the knowing attacks are too weak."
            )


KNOWING_CHECKS = (
    _probabilities,
    _random,
    _zero_gradients,
    _exploding_gradients,
    _eps_0,
    _not_converged,
    _never_all,
    _blind_beats_seeing,
    _knowing_too_little,
)
