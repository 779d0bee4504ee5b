"""Weights and thresholds of kept rows, worked out by hand or by trying everything."""

import numpy as np
import pytest
import torch

from advdetect.detectors import Detector
from advdetect.guard.rows import KeptRows


class Probe(Detector):
    """Scores a row by its first number, and remembers what it was fitted on."""

    def _fit(self, X, y, predicted, weight):
        self.seen_ = (X[:, 0].tolist(), y.tolist(), predicted.tolist(), weight)

    def _score(self, X, predicted):
        return X[:, 0]

    def _save(self):
        return {}

    def _load(self, arrays):
        pass


def kept(values, origin, budgets):
    rows = torch.tensor(values, dtype=torch.float32)[:, None]
    return KeptRows(rows, torch.arange(len(values)) % 2, torch.tensor(origin), budgets)


BUDGETS = ("linf_fgsm 8/255", "linf_pgd 8/255", "linf_bim 0.1", "l2_deepfool")


def test_kinds_families_and_budgets_weigh_the_same():
    # Of 12 rows: 4 clean, 2 of FGSM, 1 and 3 of the family of PGD, 2 of DeepFool.
    origin = [0, 0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4]
    rows = kept(list(range(12)), origin, BUDGETS)
    values, labels, predicted, weight = rows.fit(Probe()).seen_
    assert values == list(range(12))
    assert labels == [0] * 4 + [1] * 8
    assert predicted == [0, 1] * 6
    expected = [1 / 4] * 4 + [1 / 6] * 2 + [1 / 6] + [1 / 18] * 3 + [1 / 6] * 2
    np.testing.assert_allclose(weight, np.array(expected) * 12 / 2)


def test_budgets_left_out_leave_their_weight_to_the_others():
    origin = [0, 0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4]
    rows = kept(list(range(12)), origin, BUDGETS)
    without = ("linf_pgd 8/255", "linf_bim 0.1")
    values, _, _, weight = rows.fit(Probe(), without=without).seen_
    assert values == [0, 1, 2, 3, 4, 5, 10, 11]
    np.testing.assert_allclose(weight, [1] * 8)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_threshold_has_the_best_balanced_accuracy(seed):
    generator = np.random.default_rng(seed)
    values = np.concatenate([generator.normal(size=80), generator.normal(1.5, 1, 40)])
    values = values.astype(np.float32)
    origin = np.array([0] * 80 + [1] * 30 + [2] * 10)
    rows = kept(values.tolist(), origin.tolist(), BUDGETS[:2])
    detector = rows.fit(Probe())

    def accuracy(threshold):
        hit = [(values[origin == kind] > threshold).mean() for kind in (1, 2)]
        return (values[origin == 0] <= threshold).mean() + np.mean(hit)

    found = accuracy(rows.balanced_threshold(detector))
    best = max(accuracy(value) for value in values)
    assert found == pytest.approx(best, abs=0.03)  # candidates are quantiles, not every score
    assert found > accuracy(np.median(values)) - 1e-9


def test_without_attacks_a_twentieth_of_the_clean_rows_exceeds_the_threshold():
    rows = kept(list(range(101)), [0] * 101, ())
    detector = kept([0, 1], [0, 1], BUDGETS[:1]).fit(Probe())
    assert rows.balanced_threshold(detector) == 95
