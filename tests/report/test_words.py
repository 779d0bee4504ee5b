"""Names and numbers as people read them."""

from dataclasses import replace

import pytest

from advdetect.metrics import NONE, Estimate, wilson
from advdetect.report.report import KnowingRow
from advdetect.report.words import (
    attack_words,
    between,
    decimal,
    headline,
    nominal,
    norm_words,
    percent,
    row_words,
    share,
    share_range,
)


@pytest.mark.parametrize(
    ("attack", "eps", "words"),
    [
        ("linf_pgd", 8 / 255, "PGD L\u221e 8/255"),
        ("linf_pgd 8/255", None, "PGD L\u221e 8/255"),
        ("linf_fgsm", 0.1, "FGSM L\u221e 0.1"),
        ("l2_carlini_wagner", None, "Carlini-Wagner L2"),
        ("l2_gaussian_noise 0.5", None, "Gaussian noise L2 0.5"),
        ("linf_uniform_noise", 0.1, "uniform noise L\u221e 0.1"),
        ("selective_pgd", 0.1, "selective PGD 0.1"),
        ("square", None, "Square"),
    ],
)
def test_attacks(attack, eps, words):
    assert attack_words(attack, eps) == words


def test_rows_and_norms(report):
    assert row_words(report.detection[0]) == row_words(report.robustness[0]) == "FGSM L\u221e 4/255"
    assert (norm_words("linf"), norm_words("l2"), norm_words("lpips")) == ("L\u221e", "L2", "lpips")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9512, "95.1 %"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.9999, "> 99.9 %"),
        (0.0001, "< 0.1 %"),
        (None, "none"),
    ],
)
def test_shares_never_look_perfect_unless_they_are(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.98765, "0.988"), (1.0, "1"), (0.9999, "> 0.999"), (None, "none")]
)
def test_areas_never_look_perfect_unless_they_are(value, text):
    assert decimal(value) == text


def test_estimates():
    found = Estimate(0.953, 0.941, 1.0, 10)
    assert share(found) == "95.3 % [94.1 to 100 %]"
    assert share_range(found) == "94.1 to 100 %"
    assert share(NONE) == share_range(NONE) == "no examples"


def test_counts_and_rates():
    assert (between([3000, 1]), between([7, 7]), between([])) == ("1 to 3,000", "7", "0")
    assert (nominal(0.05), nominal("0.005")) == ("5 %", "0.5 %")


def rated(row, value: float, **changes):
    rates = dict.fromkeys(row.detection_rate, Estimate(value, 0.0, 1.0, 100))
    return replace(row, detection_rate=rates, **changes)


def test_a_headline_names_the_worst_attack_with_its_interval(report):
    row = report.detection[0]
    found = replace(
        report, detection=(rated(row, 0.9), rated(row, 0.8, eps=0.1, fitted_on_it=False))
    )
    # Two budgets, one of them not fitted on: the worst of the guard as it is, and left out.
    assert headline(found) == (
        "Of the attacked images that fooled fashion-resnet, the guard flags 80.0 % [0 to 100 %] "
        "on its worst attack, FGSM L\u221e 0.1, at a 5 % false-alarm rate. Where each kind of "
        "attack was left out of fitting, its worst is 80.0 % [0 to 100 %], FGSM L\u221e 0.1."
    )


def test_a_headline_says_what_the_guard_was_not_fitted_on(report):
    found = replace(report, detection=(rated(report.detection[0], 0.7, fitted_on_it=False),))
    assert headline(found).endswith("It was fitted on none of these attacks.")


def test_a_headline_admits_alarms_at_noise_and_attackers_who_know(report):
    row = report.detection[0]
    noise = rated(row, 0.9, attack="linf_uniform_noise", control=True)
    success = {key: wilson(9, 10) for key in ("0.01", "0.05", "0.5")}
    known = (KnowingRow(report.detector, "all attacks", "linf", 8 / 255, success),)
    found = headline(replace(report, detection=(rated(row, 0.9), noise), knowing=known))
    assert "It also flags 90.0 % [0 to 100 %] of images with harmless uniform noise" in found
    assert "An attacker who knows the guard gets 90.0 % [" in found
    assert "of correctly classified images past both at L\u221e 8/255." in found


def test_a_headline_without_any_success(bare):
    assert headline(bare[0]) == (
        "No attack fooled fashion-resnet: nothing can be said of the guard."
    )
