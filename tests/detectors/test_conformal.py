"""Split-conformal p-values: counted by hand, and their guarantee in a simulation."""

import numpy as np
import pytest

from advdetect.detectors.conformal import ConformalCalibration, check_enough
from advdetect.errors import InputError


def test_p_values_count_the_clean_scores_at_least_as_high():
    calibration = ConformalCalibration([1.0, 2.0, 3.0, 4.0])
    # (1 + how many are as high) / 5; a tie counts as as high.
    found = calibration.p_values([0.0, 1.0, 2.5, 4.0, 9.0])
    np.testing.assert_allclose(found, [1, 1, 0.6, 0.4, 0.2])


def test_the_order_of_calibration_does_not_matter():
    shuffled = ConformalCalibration([3.0, 1.0, 4.0, 2.0]).p_values([2.5])
    np.testing.assert_array_equal(shuffled, ConformalCalibration([1.0, 2, 3, 4]).p_values([2.5]))


def test_classes_are_calibrated_apart():
    calibration = ConformalCalibration([1.0, 2.0, 10.0, 20.0, 30.0], [0, 0, 1, 1, 1])
    found = calibration.p_values([5.0, 5.0, 25.0, 5.0], [0, 1, 1, 2])
    # Class 2 has no clean input: it is held against those of all.
    np.testing.assert_allclose(found, [1 / 3, 1, 0.5, 4 / 6])
    assert calibration.counts == {"0": 2, "1": 3}
    assert ConformalCalibration([1.0, 2.0]).counts == {}


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.5])
def test_clean_inputs_are_flagged_at_the_nominal_rate(alpha):
    rng = np.random.default_rng(0)
    rates = [
        (ConformalCalibration(rng.normal(size=99)).p_values(rng.normal(size=200)) <= alpha).mean()
        for _ in range(300)
    ]
    # With 99 the guarantee is an equality; its error here is that of 300 draws.
    assert np.mean(rates) == pytest.approx(alpha, abs=4 * np.std(rates) / 300**0.5)


def test_equal_scores_flag_nobody():
    assert (ConformalCalibration(np.zeros(50)).p_values(np.zeros(5)) == 1).all()


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (9, 0.1), (99, 0.01), (999, 0.001)])
def test_the_fewest_inputs_for_a_rate(n, alpha):
    check_enough(n, alpha)
    with pytest.raises(InputError, match=f"needs at least {n} clean calibration inputs, got"):
        check_enough(n - 1, alpha)


def test_every_class_needs_enough():
    calibration = ConformalCalibration(np.arange(30.0), np.repeat([0, 3], [20, 10]))
    calibration.check_enough(0.1)
    with pytest.raises(InputError, match="at least 19 .* predicted as class 3, got 10"):
        calibration.check_enough(0.05)


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_refuses_a_rate_that_is_none(rate):
    with pytest.raises(InputError, match="lies between 0 and 1, got"):
        ConformalCalibration([1.0]).check_enough(rate)


@pytest.mark.parametrize("scores", [[], [[1.0, 2.0]], 3.0])
def test_refuses_to_calibrate_on_nothing(scores):
    with pytest.raises(InputError, match="needs the scores of clean inputs, got none"):
        ConformalCalibration(scores)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_scores_that_are_not_finite(bad):
    with pytest.raises(InputError, match="must be finite"):
        ConformalCalibration([1.0, bad])
