"""Weights and thresholds of kept rows, worked out by hand or by trying everything."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from advdetect.detectors import DETECTORS, Detector
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


class Column(Detector):
    """Scores a row by one of its numbers; keeps a diary of all that was fitted and scored."""

    choices: ClassVar = {"column": (2, 1)}
    diary: ClassVar[list[tuple[str, np.ndarray]]] = []

    def __init__(self, column=0):
        self.column = column

    def _fit(self, X, y, predicted, weight):
        self.diary.append(("fit", X[:, -1]))

    def _score(self, X, predicted):
        self.diary.append(("score", X[:, -1]))
        return X[:, self.column]

    _save, _load = Probe._save, Probe._load


def known_sources(n=60):
    """Clean rows and three families of twins: number of the row, noise, the answer, and again."""
    origin = torch.arange(4).repeat_interleave(n)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=4 * n)).float()
    number = torch.arange(4 * n).float()
    rows = torch.stack([number, (origin > 0) + noise, noise, number], dim=1)
    budgets = ("linf_fgsm 8/255", "linf_pgd 8/255", "l2_deepfool")
    return KeptRows(rows, origin % 2, origin, budgets, torch.arange(n).repeat(4))


def test_what_does_best_on_attacks_left_out_is_chosen_by_images_not_fitted_on():
    rows, detector = known_sources(), Column()
    Column.diary.clear()
    rows.fit(detector)
    assert detector.get_params() == {"column": 1}
    *tried, (last, every) = Column.diary
    assert last == "fit"
    assert len(every) == 240
    assert len(tried) == 2 * 2 * 3  # a fit and its score, of each choice and each family
    for (fit, fitted), (score, scored) in zip(tried[::2], tried[1::2], strict=True):
        assert (fit, score) == ("fit", "score")
        assert not set(fitted % 60) & set(scored % 60)  # no source image on both sides
        assert len(set(fitted // 60)) == 3  # clean, and two families of three
        assert set(scored // 60) == {0, 1, 2, 3}


def test_families_left_out_of_a_fit_have_no_say_in_what_it_chooses():
    Column.diary.clear()
    known_sources().fit(Column(), without=("linf_pgd 8/255",))
    assert all(2 not in fitted // 60 for kind, fitted in Column.diary if kind == "fit")
    assert len(Column.diary) == 2 * 2 * 2 + 1


@pytest.mark.parametrize(
    "rows",
    [
        replace(known_sources(), source=None),
        known_sources(19),  # too few to tell
        known_sources().only(known_sources().origin < 2),  # one family
    ],
)
def test_nothing_is_chosen_where_nothing_is_known(rows):
    detector = Column()
    rows.fit(detector)
    assert detector.get_params() == {"column": 0}


def test_strong_regularisation_is_chosen_where_attacks_share_little():
    generator = np.random.default_rng(0)
    n = 90
    origin = torch.arange(4).repeat_interleave(n)
    # One direction is common to all families; each has one more, opposite in the others.
    own = torch.eye(4)[origin][:, 1:] * 3 - (origin > 0).float()[:, None]
    noise = torch.from_numpy(generator.normal(size=(4 * n, 4))).float()
    rows = torch.cat([(origin > 0).float()[:, None], own], dim=1) + noise
    budgets = ("linf_fgsm 8/255", "linf_pgd 8/255", "l2_deepfool")
    kept_rows = KeptRows(rows, origin % 2, origin, budgets, torch.arange(n).repeat(4))
    detector = DETECTORS["logistic"]()
    kept_rows.fit(detector)
    assert detector.C < 1


def test_the_distance_gets_weight_where_attacks_share_no_more_than_being_unusual():
    generator = np.random.default_rng(0)
    n = 90
    origin = torch.arange(4).repeat_interleave(n)
    own = torch.eye(4)[origin][:, 1:] * 4  # each family moves a column of its own
    rows = own + torch.from_numpy(generator.normal(size=(4 * n, 3))).float()
    budgets = ("linf_fgsm 8/255", "linf_pgd 8/255", "l2_deepfool")
    kept_rows = KeptRows(
        rows, torch.zeros(4 * n, dtype=torch.int64), origin, budgets, torch.arange(n).repeat(4)
    )
    detector = DETECTORS["hybrid"]()
    kept_rows.fit(detector)
    assert detector.distance_weight == max(DETECTORS["hybrid"].choices["distance_weight"])
