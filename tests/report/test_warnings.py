"""Each warning is provoked, and a sound report provokes none."""

from dataclasses import replace

import pytest

from advdetect.metrics import Estimate, median, wilson
from advdetect.report import find_warnings
from advdetect.report.report import FalseAlarms, Robustness


def attacked(attack: str, eps: float | None, successes: int, size: float = 0.1) -> Robustness:
    control = "noise" in attack
    norm = attack.split("_")[0]
    sizes = median([size] * max(successes, 1))
    return Robustness(
        attack, norm, eps, wilson(1000 - successes, 1000), wilson(successes, 1000), sizes, control
    )


def found(row, value: float, n: int = 1000, **changes):
    """A detection row whose rates are all the same."""
    estimate = Estimate(value, value - 0.02, value + 0.02, n)
    return replace(row, detection_rate=dict.fromkeys(row.detection_rate, estimate), **changes)


@pytest.fixture
def quiet(report):
    """No row that could be wrong."""
    return replace(report, robustness=(), detection=())


def test_a_sound_report_warns_of_nothing(report, quiet):
    assert find_warnings(report) == ()
    assert find_warnings(quiet) == ()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(
            [attacked("linf_fgsm", 0.1, 700), attacked("linf_pgd", 0.1, 600)],
            "PGD L\u221e 0.1 succeeds less often (60.0 %) than the single step of "
            "FGSM L\u221e 0.1 (70.0 %): too few steps, or gradients that mislead.",
            id="single step beats iterative",
        ),
        pytest.param(
            [attacked("l2_pgd", 0.5, 700), attacked("l2_pgd", 1.5, 600)],
            "PGD L2 1.5 succeeds less often (60.0 %) than PGD L2 0.5 (70.0 %): the larger budget "
            "allows all that the smaller does.",
            id="larger eps does worse",
        ),
        pytest.param(
            [attacked("linf_pgd", 0.1, 100), attacked("linf_uniform_noise", 0.1, 100)],
            "PGD L\u221e 0.1 succeeds no more often (10.0 %) than uniform noise L\u221e 0.1 "
            "(10.0 %): it finds nothing that chance does not.",
            id="no better than noise",
        ),
        pytest.param(
            [attacked("l2_hop_skip_jump", None, 900, 0.3), attacked("l2_deepfool", None, 900, 0.4)],
            "HopSkipJump L2 sees decisions alone, and needs less (median 0.3) than the best "
            "attack with gradients, DeepFool L2 (0.4): the gradients mislead.",
            id="black box beats white box",
        ),
        pytest.param(
            [attacked("linf_pgd", 4 / 255, 0)],
            "PGD L\u221e 4/255 succeeds on none of 1,000 images: too small an eps, or gradients "
            "that the model hides.",
            id="succeeds nowhere",
        ),
    ],
)
def test_weak_attacks(quiet, rows, message):
    assert find_warnings(replace(quiet, robustness=tuple(rows))) == (message,)


@pytest.mark.parametrize(
    "rows",
    [
        [attacked("linf_fgsm", 0.1, 600), attacked("linf_pgd", 0.1, 700)],
        [attacked("linf_fgsm", 0.1, 603), attacked("linf_pgd", 0.1, 600)],  # within tolerance
        [attacked("linf_fgsm", 0.1, 700), attacked("linf_pgd", 8 / 255, 600)],  # another eps
        [attacked("linf_fgsm", 1.5, 700), attacked("l2_pgd", 1.5, 600)],  # another norm
        [attacked("linf_uniform_noise", 0.1, 90), attacked("linf_uniform_noise", 0.2, 50)],
        [attacked("linf_pgd", 0.1, 1), attacked("linf_uniform_noise", 0.1, 0)],
        [attacked("l2_hop_skip_jump", None, 900, 0.3), attacked("linf_fmn", None, 900, 0.4)],
        [attacked("l2_hop_skip_jump", None, 900, 0.3), attacked("l2_fmn", None, 900, 0.2)],
        [attacked("l2_hop_skip_jump", None, 900, 0.3)],
    ],
)
def test_attacks_that_are_no_weaker_than_they_should_be(quiet, rows):
    assert find_warnings(replace(quiet, robustness=tuple(rows))) == ()


def test_noise_that_is_flagged(report, quiet):
    noise = replace(report.detection[0], control=True, attack="linf_uniform_noise", eps=8 / 255)
    loud, louder = found(noise, 0.16), found(noise, 0.12, eps=0.1)
    assert find_warnings(replace(quiet, detection=(loud, louder))) == (
        "Harmless noise is flagged at more than 3 times the nominal rate: uniform noise "
        "L\u221e 8/255 (16.0 % at 5 %), uniform noise L\u221e 0.1 (12.0 % at 1 %). What the "
        "detector finds is in part noise, not attacks.",
    )
    assert find_warnings(replace(quiet, detection=(found(noise, 0.03),))) == ()


def test_few_successes(report, quiet):
    row = found(report.detection[0], 0.9, n=99)
    assert find_warnings(replace(quiet, detection=(row,))) == (
        "FGSM L\u221e 4/255 counts 99 successes only: its rates are loose, attack more images, "
        "until at least 100 fool the model.",
    )
    assert find_warnings(replace(quiet, detection=(found(row, 0.9, n=100),))) == ()


def test_attacks_left_out_of_fitting(report, quiet):
    seen = found(report.detection[0], 0.95)
    unseen = found(seen, 0.89, fitted_on_it=False)
    assert find_warnings(replace(quiet, detection=(seen, unseen))) == (
        "FGSM L\u221e 4/255 is found 95.0 % [93.0 to 97.0 %] of the time, but only 89.0 % "
        "[87.0 to 91.0 %] when attacks of its kind are left out of fitting: expect the lower "
        "figure of attacks that nobody has thought of yet.",
    )
    near = found(seen, 0.90, fitted_on_it=False)
    assert find_warnings(replace(quiet, detection=(seen, near))) == ()


def test_scores_turned_round(report, quiet):
    row = replace(report.detection[0], auroc=Estimate(0.4, 0.35, 0.45, 1000))
    assert find_warnings(replace(quiet, detection=(row,))) == (
        "FGSM L\u221e 4/255 scores lower than clean images (AUROC 0.400): the detector is turned "
        "round there.",
    )


def test_false_alarms_outside_what_calibration_allows(quiet):
    alarms = FalseAlarms(0.05, 0.07, 0.061, 0.08, 3000, 0.038, 0.063)
    changed = replace(quiet, clean=replace(quiet.clean, false_alarm_rates=(alarms,)))
    assert find_warnings(changed) == (
        "At a nominal 5 %, 7.0 % of 3,000 clean images are flagged; a calibrated guard gives "
        "3.8 % to 6.3 %. The clean images may differ from those behind the p-values.",
    )


def test_other_detectors_are_comparisons_and_warn_of_nothing(report, quiet):
    row = found(report.detection[0], 0.9, n=5, detector="fiedler")
    assert find_warnings(replace(quiet, detection=(row,))) == ()
