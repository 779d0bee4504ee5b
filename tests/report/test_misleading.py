"""Warnings about the model and about attacks that know the guard, each provoked."""

from dataclasses import replace

import pytest

from advdetect.metrics import wilson
from advdetect.report.report import ALL, Convergence, KnowingRow
from advdetect.report.warnings import find_warnings


def knowing(report, attack, eps, share, n=1000):
    success = {key: wilson(round(n * share), n) for key in ("0.01", "0.05", "0.5")}
    return KnowingRow(report.detector, attack, "linf", eps, success)


def told(report, **changes):
    before = set(find_warnings(report))
    return [text for text in find_warnings(replace(report, **changes)) if text not in before]


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("probabilities", "The model's outputs look like probabilities"),
        ("random", "The model is random: asked again, it answers 100 % of the images"),
        ("zero_gradients", "The gradient is exactly 0 for 100 % of the images looked at"),
        ("exploding_gradients", "The gradient is not finite, or larger than a million, for 100 %"),
        ("eps_0_changes", "An attack with eps 0 changes the prediction of 100 % of the images"),
    ],
)
def test_what_the_model_itself_shows(report, check, message):
    (text,) = told(report, checks={check: 1.0})
    assert text.startswith(message)
    assert told(report, checks={check: 0.0}) == []


def test_more_effort_that_finds_more(report):
    few, more = wilson(500, 1000), wilson(530, 1000)
    row = Convergence("linf_joint_pgd", "linf", 8 / 255, few, few, more)
    (text,) = told(report, convergence=(row,))
    assert "joint PGD L\u221e 8/255 has not converged" in text
    assert "goes from 50.0 % to 53.0 %" in text
    same = replace(row, twice_the_restarts=wilson(519, 1000))
    assert told(report, convergence=(same,)) == []


def test_no_budget_that_reaches_every_image(report):
    rows = [knowing(report, ALL, 8 / 255, 0.9), knowing(report, ALL, 1.0, 0.97)]
    (text,) = told(report, knowing=tuple(rows))
    assert text.startswith("No budget tried lets attacks that know the guard past it for every")
    assert "(at most 97.0 %)" in text
    rows[1] = knowing(report, ALL, 1.0, 1.0)
    assert told(report, knowing=tuple(rows)) == []


@pytest.mark.parametrize("blind", ["linf_guard_square", "linf_guard_boundary"])
def test_an_attack_without_gradients_that_finds_more(report, blind):
    rows = [
        knowing(report, ALL, 8 / 255, 1.0),
        knowing(report, "linf_joint_pgd", 8 / 255, 0.8),
        knowing(report, blind, 8 / 255, 0.9),
    ]
    (text,) = told(report, knowing=tuple(rows))
    assert "takes no gradients, and gets more images past the guard (90.0 %) than" in text
    rows[2] = knowing(report, blind, 8 / 255, 0.8)
    assert told(report, knowing=tuple(rows)) == []


def test_a_knowing_attack_weaker_than_one_that_knows_nothing(report):
    row = next(r for r in report.robustness if r.attack == "linf_pgd" and r.eps == 8 / 255)
    lost = replace(row, guarded_accuracy=wilson(500, 1000))
    robustness = tuple(lost if r is row else r for r in report.robustness)
    knows = (knowing(report, ALL, 8 / 255, 0.1), knowing(report, ALL, 1.0, 1.0))
    (text,) = told(report, robustness=robustness, knowing=knows)
    assert "PGD L\u221e 8/255, which does not know the guard, gets past it for" in text
    stronger = (knowing(report, ALL, 8 / 255, 0.5), knows[1])
    assert told(report, robustness=robustness, knowing=stronger) == []


def test_square_that_beats_pgd(report):
    row = next(r for r in report.robustness if r.attack == "linf_pgd" and r.eps == 8 / 255)
    blind = replace(row, attack="linf_square", success_rate=wilson(924, 925))
    found = told(report, robustness=(*report.robustness, blind))
    assert any(
        "Square L\u221e 8/255 takes no gradients, and succeeds more often" in t for t in found
    )
