"""Published detectors: what they read, and that a guard of each can be made, kept and attacked."""

import numpy as np
import pytest
import torch

from advdetect.attacks.knowing import evade_chunk
from advdetect.detectors import BASELINES, DETECTORS
from advdetect.features import FEATURES
from advdetect.guard import Guard
from advdetect.guard.target import GuardTarget


def test_a_tally_is_the_mean_in_deviations_of_clean_rows():
    rng = np.random.default_rng(0)
    X = rng.normal([1, 10], [1, 4], size=(1000, 2))
    detector = DETECTORS["energy"]().fit(X)
    expected = ((X[:5] - X.mean(0)) / X.std(0)).mean(1)
    np.testing.assert_allclose(detector.decision_function(X[:5]), expected)


@pytest.mark.parametrize("name", BASELINES)
def test_each_reads_families_that_there_are(name):
    assert set(DETECTORS[name].families) <= set(FEATURES)


@pytest.fixture(scope="module", params=BASELINES)
def guard(request, small, digits, small_attacks):
    clean_only = DETECTORS[request.param].clean_only
    return Guard.fit(
        small.module,
        digits["reference"].images,
        None if clean_only else small_attacks,
        calibration_images=digits["calibration"].images,
        detector=request.param,
    )


def test_a_guard_of_each_is_calibrated_and_kept(guard, digits, tmp_path):
    images = digits["evaluation"].images
    verdicts = guard(images)
    assert 0.01 < verdicts.flagged.double().mean() < 0.11
    guard.save(tmp_path)
    again = Guard.load(tmp_path, model=guard.model)(images)
    torch.testing.assert_close(again.score, verdicts.score, rtol=1e-3, atol=1e-4)


def test_someone_who_knows_it_gets_past_it(guard, digits):
    some = digits["evaluation"].subset(range(12))
    chunk = evade_chunk(
        GuardTarget(guard), some.images, some.labels, "linf_joint_pgd", (0.3,), seed=0
    )
    right = chunk["clean_prediction"] == some.labels
    evaded = (chunk["prediction"][:, 0] != some.labels) & (chunk["p_value"][:, 0] > 0.05)
    assert evaded[right].double().mean() > 0.8
