"""Metrics against answers worked out by hand, SciPy, scikit-learn and simulation."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from advdetect.errors import InputError
from advdetect.metrics import (
    NONE,
    Estimate,
    auroc,
    balanced_accuracy,
    false_alarm_interval,
    mean,
    median,
    rate,
    robust_accuracy,
    robust_accuracy_curve,
    wilson,
)

Z = 1.959963984540054


def flags(true: int, n: int) -> np.ndarray:
    return np.arange(n) < true


def fields(found: Estimate) -> tuple[float | None, ...]:
    return found.value, found.low, found.high, found.n


def test_an_estimate_as_json_and_as_text():
    estimate = Estimate(0.5, 0.25, 0.75, 8)
    assert estimate.to_json() == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
    assert str(estimate) == "0.500 [0.250, 0.750] (n = 8)"


def test_without_examples_there_is_null_and_no_nan():
    found = [
        rate([]),
        wilson(0, 0),
        auroc([], [1.0]),
        auroc([1.0], []),
        balanced_accuracy([], [True]),
        balanced_accuracy([True], []),
        robust_accuracy([], []),
        median([]),
        mean([]),
    ]
    assert found == [NONE] * len(found)
    text = json.dumps(NONE.to_json(), allow_nan=False)
    assert text == '{"value": null, "low": null, "high": null, "n": 0}'
    assert str(NONE) == "no examples"


def test_wilson_by_hand():
    # With z = 2 and 8 of 10: centre (8 + 2) / 14, half width 2 / 14 sqrt(1.6 + 1).
    confidence = stats.norm.cdf(2) - stats.norm.cdf(-2)
    found = wilson(8, 10, confidence=confidence)
    half = 2 / 14 * np.sqrt(2.6)
    assert fields(found) == pytest.approx((0.8, 10 / 14 - half, 10 / 14 + half, 10))


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 400), (1, 7), (50, 100), (400, 400)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_is_scipys(successes, n, confidence):
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    found = wilson(successes, n, confidence=confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_wilson_ends_at_the_ends():
    assert wilson(0, 30).low == 0
    assert wilson(30, 30).high == 1


def test_a_rate_counts_true_flags():
    assert rate(flags(3, 12)) == wilson(3, 12)


def test_robust_accuracy_counts_right_predictions():
    assert robust_accuracy([1, 2, 3, 4], [1, 2, 0, 0]) == wilson(2, 4)


def test_robust_accuracy_curve_by_hand():
    # One wrong from the start, two found at 0.1 and 0.3, one never.
    curve = robust_accuracy_curve([0.3, 0.0, np.inf, 0.1], [0.0, 0.05, 0.1, 0.2, 0.3, 9.0])
    assert curve.tolist() == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25]


def test_auroc_by_hand():
    # Clean 1, 2, 3 against 2.5 and 4: five of six pairs in order. Shares below each adversarial
    # score 2/3 and 1 (variance 1/18), above each clean one 1, 1 and 1/2 (variance 1/12): the
    # variance of the area is 1/36 + 1/36.
    found = auroc([1.0, 2.0, 3.0], [2.5, 4.0])
    stretch = np.exp(Z * np.sqrt(1 / 18) / (5 / 36))
    low, high = 5 / stretch / (1 + 5 / stretch), 5 * stretch / (1 + 5 * stretch)
    assert fields(found) == pytest.approx((5 / 6, low, high, 2))


def test_auroc_is_scikit_learns_also_with_ties():
    source = np.random.default_rng(0)
    clean, adversarial = source.integers(0, 12, 300), source.integers(4, 16, 200)
    labels = np.repeat([0, 1], [300, 200])
    expected = roc_auc_score(labels, np.concatenate([clean, adversarial]))
    assert auroc(clean, adversarial).value == pytest.approx(expected, abs=1e-12)


def test_auroc_variance_is_that_of_all_pairs():
    source = np.random.default_rng(1)
    clean, adversarial = source.normal(size=40).round(1), source.normal(1, 1, 30).round(1)
    wins = (adversarial[:, None] > clean) + 0.5 * (adversarial[:, None] == clean)
    area = wins.mean()
    variance = wins.mean(1).var(ddof=1) / 30 + wins.mean(0).var(ddof=1) / 40
    found = auroc(clean, adversarial)
    width = (np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))) / 2
    assert width == pytest.approx(Z * np.sqrt(variance) / (area * (1 - area)))


def test_auroc_interval_covers_the_truth_as_often_as_it_says():
    source = np.random.default_rng(2)
    truth = stats.norm.cdf(1.5 / np.sqrt(2))
    found = [auroc(source.normal(size=60), source.normal(1.5, 1, 40)) for _ in range(400)]
    covered = np.mean([e.low <= truth <= e.high for e in found])
    assert covered == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("turned", [False, True])
def test_auroc_of_a_perfect_order_keeps_an_interval(turned):
    # Twenty disjoint pairs, all in order: Clopper and Pearson leave 1 - 0.025^(1/20).
    clean, adversarial = np.arange(20.0), np.arange(100.0, 150.0)
    slack = 1 - 0.025 ** (1 / 20)
    exact = stats.binomtest(20, 20).proportion_ci(0.95, method="exact")
    assert 1 - exact.low == pytest.approx(slack)
    if turned:
        assert fields(auroc(-clean, -adversarial)) == pytest.approx((0, 0, slack, 50))
    else:
        assert fields(auroc(clean, adversarial)) == pytest.approx((1, 1 - slack, 1, 50))


def test_auroc_of_a_single_adversarial_input():
    # Hanley and McNeil with area 2/3, one adversarial and three clean: second = 8/15,
    # variance (2/9 + 2 (8/15 - 4/9)) / 3.
    found = auroc([1.0, 2.0, 4.0], [3.0])
    width = Z * np.sqrt((2 / 9 + 2 * (8 / 15 - 4 / 9)) / 3) / (2 / 9)
    odds = 2 * np.exp([-width, width])
    assert fields(found) == pytest.approx((2 / 3, *(odds / (1 + odds)), 1))


def test_auroc_of_equal_scores_is_a_coin_toss_with_an_interval():
    found = auroc(np.ones(10), np.ones(8))
    assert found.value == 0.5
    assert found.low < 0.35
    assert found.high > 0.65


def test_auroc_of_one_against_one_says_next_to_nothing():
    assert fields(auroc([0.0], [1.0])) == pytest.approx((1, 0.025, 1, 1))


def test_balanced_accuracy_is_scikit_learns():
    found = balanced_accuracy(flags(10, 200), flags(90, 100))
    truth = np.repeat([0, 1], [200, 100])
    said = np.concatenate([flags(10, 200), flags(90, 100)])
    assert found.value == pytest.approx(balanced_accuracy_score(truth, said))
    assert found.n == 100


def test_balanced_accuracy_interval_by_hand():
    # Equal shares of equally many: each distance to its Wilson limit, over sqrt(2).
    part = wilson(80, 100)
    found = balanced_accuracy(flags(20, 100), flags(80, 100))
    down, up = (0.8 - part.low) / np.sqrt(2), (part.high - 0.8) / np.sqrt(2)
    assert fields(found) == pytest.approx((0.8, 0.8 - down, 0.8 + up, 100))


def test_balanced_accuracy_interval_stays_within_0_and_1():
    best, worst = (
        balanced_accuracy(flags(0, 3), flags(3, 3)),
        balanced_accuracy(flags(3, 3), flags(0, 3)),
    )
    assert best.value == best.high == 1
    assert worst.value == worst.low == 0
    assert 0 < best.low < 1
    assert 0 < worst.high < 1


def test_median_interval_by_hand():
    # Of ten values, the second and the ninth: P(Bin(10, 1/2) <= 1) = 11/1024 < 0.025 < 56/1024.
    assert median(np.arange(10.0)) == Estimate(4.5, 1.0, 8.0, 10)
    assert median([3.0]) == Estimate(3.0, 3.0, 3.0, 1)


def test_mean_interval_is_students():
    values = np.array([0.5, 0.6, 0.7])
    half = 4.302652729911275 * 0.1 / np.sqrt(3)  # t with two degrees of freedom
    assert fields(mean(values)) == pytest.approx((0.6, 0.6 - half, 0.6 + half, 3))
    assert mean([0.8, 0.9, 1.0]).high == 1
    assert mean([0.4]) == Estimate(0.4, 0.0, 1.0, 1)


def test_one_calibration_image_makes_every_count_as_likely():
    # k = 1 of 2: Beta(1, 1) is uniform, and so is the count among 99 images, 0 to 99.
    assert false_alarm_interval(0.5, 1, 99) == pytest.approx((2 / 99, 97 / 99))


def test_false_alarms_of_a_calibrated_guard_fall_in_the_interval():
    source = np.random.default_rng(3)
    found = []
    for _ in range(600):
        calibration, scores = source.normal(size=99), source.normal(size=200)
        p_values = (1 + (calibration >= scores[:, None]).sum(1)) / 100
        found.append((p_values <= 0.1).mean())
    low, high = false_alarm_interval(0.1, 99, 200)
    inside = np.mean([low <= f <= high for f in found])
    assert inside == pytest.approx(0.95, abs=0.025)
    # Wilson's interval around the nominal rate would forget that calibration is a sample.
    forgetful = wilson(20, 200)
    assert np.mean([forgetful.low <= f <= forgetful.high for f in found]) < 0.9


def test_a_rate_met_exactly_counts():
    # 29 of 100 is 0.29, although 0.29 * 100 is a little less than 29 in floating point.
    assert false_alarm_interval(0.29, 99, 1000)[1] == pytest.approx(
        stats.betabinom(1000, 29, 71).ppf(0.975) / 1000
    )
    assert false_alarm_interval(0.05, 19, 10)


def test_where_no_p_value_is_as_small_nobody_is_flagged():
    assert false_alarm_interval(0.05, 18, 1000) == (0, 0)


def test_false_alarms_of_classes_calibrated_apart_fall_in_their_interval():
    source = np.random.default_rng(4)
    behind, counted = [150, 99, 60], [300, 100, 200]
    found = []
    for _ in range(1500):
        flagged = 0
        for n, m in zip(behind, counted, strict=True):
            calibration, scores = np.sort(source.normal(size=n)), source.normal(size=m)
            higher = n - np.searchsorted(calibration, scores)
            flagged += ((1 + higher) / (n + 1) <= 0.1).sum()
        found.append(flagged / 600)
    low, high = false_alarm_interval(0.1, behind, counted)
    assert np.mean([low <= f <= high for f in found]) == pytest.approx(0.95, abs=0.02)
    assert false_alarm_interval(0.1, [99], [200]) == false_alarm_interval(0.1, 99, 200)


def test_calibrated_apart_they_may_be_too_few():
    assert false_alarm_interval(0.01, [60] * 10, [300] * 10) == (0, 0)
    assert false_alarm_interval(0.01, 600, 3000)[0] > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "successes <= n, got 3 of 2"),
        (lambda: wilson(-1, 2), "got -1 of 2"),
        (lambda: wilson(1, 2, confidence=1), "confidence lies between 0 and 1, got 1"),
        (lambda: rate([0.01, 0.5]), r"true or false, got float64 of shape \(2,\): compare p-v"),
        (lambda: rate([[True]]), r"got bool of shape \(1, 1\)"),
        (lambda: robust_accuracy([1, 2], [1]), r"per label, got shapes \(2,\) and \(1,\)"),
        (lambda: robust_accuracy_curve([], [0.1]), "distances of at least 0, one per input"),
        (lambda: robust_accuracy_curve([-1.0], [0.1]), "distances of at least 0"),
        (lambda: robust_accuracy_curve([np.nan], [0.1]), "distances of at least 0"),
        (lambda: auroc([1.0], [np.nan]), "finite, got NaN or infinity"),
        (lambda: auroc([[1.0]], [1.0]), r"list of numbers, got shape \(1, 1\)"),
        (lambda: median([np.inf]), "finite, got NaN or infinity"),
        (lambda: mean([0.5, 1.5]), r"lie in \[0, 1\], got \[0.5, 1.5\]"),
        (lambda: mean([np.nan]), "finite, got NaN or infinity"),
        (lambda: balanced_accuracy([0, 1], [True]), "true or false, got int64"),
        (lambda: false_alarm_interval(0.0, 99, 10), "between 0 and 1, got 0"),
        (lambda: false_alarm_interval(1.5, 99, 10), "between 0 and 1, got 1.5"),
        (lambda: false_alarm_interval(0.05, 99, 0), "at least one evaluation image, got 0"),
        (lambda: false_alarm_interval(0.05, 0, 9), "at least one calibration image, got 0"),
        (lambda: false_alarm_interval(0.05, [9, 9], 9), "2 classes are calibrated, and 1 eval"),
    ],
)
def test_says_what_is_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()
