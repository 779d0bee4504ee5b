"""A martingale under the null, exactly and by simulation; and it finds what drifts."""

import itertools
import math

import numpy as np
import pytest

from advdetect.detectors.conformal import ConformalCalibration
from advdetect.service.drift import DriftTest
from advdetect.service.false_warnings import share_of_rate

RATE = 0.05


def life(seed, *, calibration, inputs, window=200, drift=lambda g, n: g.normal(size=n), **options):
    """Whether a guard's service warns, and after how many inputs."""
    generator = np.random.default_rng(seed)
    test = DriftTest(
        ConformalCalibration(generator.normal(size=calibration)),
        rate=RATE,
        window=window,
        seed=seed,
        **options,
    )
    for i, score in enumerate(drift(generator, inputs)):
        if test.add([score], [0]):
            return i + 1
    return None


def test_expectation_of_the_evidence_is_one_exactly():
    # Four scores leave five gaps; the next inputs fall into them as into an urn of five balls.
    n, inputs = 4, 3
    calibration = ConformalCalibration(np.arange(n, dtype=float))
    expectation = 0.0
    for gaps in itertools.product(range(n + 1), repeat=inputs):
        urn, chance = np.ones(n + 1), 1.0
        for gap in gaps:
            chance *= urn[gap] / urn.sum()
            urn[gap] += 1
        test = DriftTest(calibration, rate=0.5, window=100)
        test.add([n - 0.5 - gap for gap in gaps], [0] * inputs)
        needed = math.log(1 * 2 / 0.5)
        expectation += chance * math.exp(test.evidence * math.log(10) + needed)
    assert expectation == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("calibration", [40, 300])
def test_false_warnings_are_no_more_than_stated(calibration):
    lives = 150
    warned = sum(
        life(seed, calibration=calibration, inputs=800) is not None for seed in range(lives)
    )
    # Three standard errors above the stated rate would be surprising.
    assert warned / lives <= RATE + 3 * math.sqrt(RATE * (1 - RATE) / lives)
    assert warned / lives <= RATE  # what these seeds give: Ville's bound is not reached


def test_the_shares_of_all_workers_add_up_to_the_rate():
    for workers in (2, 5):
        shares = [share_of_rate(RATE, workers, life) for life in range(1, 10_000)] * workers
        assert RATE * 0.999 < sum(shares) < RATE


def test_false_warnings_of_several_workers_are_no_more_than_stated():
    """Eight judge a part of the traffic each; a whole rate for each would be too much."""

    def warns(seed, rate):
        generator = np.random.default_rng(seed)
        calibration = ConformalCalibration(generator.normal(size=40))
        tests = [DriftTest(calibration, rate=rate, window=150, seed=i) for i in range(8)]
        return any(test.add(generator.normal(size=150).tolist(), [0] * 150) for test in tests)

    shared = sum(warns(seed, share_of_rate(0.2, 8, 1)) for seed in range(60)) / 60
    whole = sum(warns(seed, 0.2) for seed in range(60)) / 60
    assert shared <= 0.2 < whole


def test_without_the_calibration_samples_share_it_would_warn_falsely(monkeypatch):
    """The same bins, tested as if 40 scores were the truth: the test would cry wolf."""
    from advdetect.service import drift

    class Certain(drift._Group):
        def __init__(self, scores):
            super().__init__(scores)
            # An urn that learns nothing: the calibration taken as exact.
            self.gaps = [1e9 * gap for gap in self.gaps]
            self.total *= 1e9

    monkeypatch.setattr(drift, "_Group", Certain)
    lives = 40
    warned = sum(
        life(seed, calibration=40, inputs=800, window=800) is not None for seed in range(lives)
    )
    assert warned / lives > 4 * RATE


def mixed(generator, n, share=0.15):
    """Clean inputs, and attacks among them that score high."""
    attacked = generator.random(n) < share
    return np.where(attacked, generator.normal(4, 1, n), generator.normal(size=n))


CHANGES = {
    "three in twenty attacked": (mixed, 400),
    "another camera": (lambda g, n: g.normal(0.5, 1, n), 400),
    "scores too low": (lambda g, n: g.normal(-0.7, 1, n), 400),
    "one picture again and again": (lambda g, n: np.full(n, 0.3), 100),
}


@pytest.mark.parametrize("name", CHANGES)
def test_warns_of_a_change_soon(name):
    drift, within = CHANGES[name]
    found = [life(s, calibration=500, inputs=600, window=500, drift=drift) for s in range(8)]
    assert all(warned is not None for warned in found), found
    assert np.median(found) <= within, found


def test_a_change_after_long_service_is_found_too():
    def later(generator, n):
        return np.concatenate([generator.normal(size=n - 500), mixed(generator, 500, 0.2)])

    for seed in range(4):
        warned = life(seed, calibration=500, inputs=3000, window=400, drift=later)
        assert warned is not None
        assert 2500 < warned <= 3000


def test_equal_scores_are_no_drift():
    """Half of all clean inputs score 0: their p-values are far from uniform, by ties alone."""

    def tied(generator, n):
        return np.maximum(generator.normal(size=n), 0)

    for seed in range(10):
        generator = np.random.default_rng(1000 + seed)
        test = DriftTest(ConformalCalibration(tied(generator, 200)), rate=RATE, window=300)
        assert not test.add(tied(generator, 600), [0] * 600)


def test_classes_calibrated_apart():
    """One class scores higher than another: no drift, until one of them changes."""
    generator = np.random.default_rng(0)
    classes = np.arange(400) % 2
    calibration = ConformalCalibration(generator.normal(size=400) + 5 * classes, classes)
    test = DriftTest(calibration, rate=RATE, window=400)
    assert not test.add(generator.normal(size=400) + 5 * classes, classes.tolist())
    assert not test.add([9.0] * 50, [7] * 50)  # nothing is known of this class
    assert test.add(generator.normal(size=400) + 6 * classes, classes.tolist())
    assert test.warning


def test_a_warning_ends_when_traffic_is_itself_again():
    generator = np.random.default_rng(1)
    test = DriftTest(ConformalCalibration(generator.normal(size=500)), rate=RATE, window=200)
    assert test.add(generator.normal(3, 1, 100), [0] * 100)
    assert test.warning
    assert test.evidence > 0
    assert not test.add(generator.normal(size=600), [0] * 600)
    assert not test.warning
    assert test.evidence < 0


def test_how_soon_rare_attacks_are_noticed():
    """The docstring's figure, for attacks on 5 in 100 inputs."""
    first = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        test = DriftTest(ConformalCalibration(generator.normal(size=2000)), seed=seed)
        attacked = generator.random(5000) < 0.05
        scores = np.where(attacked, generator.normal(5, 1, 5000), generator.normal(size=5000))
        warned = (test.add([score], [0]) for score in scores)
        first.append(next(i + 1 for i, warns in enumerate(warned) if warns))
    assert np.median(first) == pytest.approx(177, abs=1)
