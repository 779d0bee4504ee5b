"""What figures show is what the evaluation holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from advdetect.attacks import AttackRun, attack
from advdetect.guard import Guard
from advdetect.workflows.evaluating import evaluate_attacks
from advdetect.workflows.picturing import embedding_of, figures_of, pictures_of


@pytest.fixture(scope="module")
def images(digits):
    # Attacks in memory count images from 0.
    return replace(digits["evaluation"].subset(range(80)), index=torch.arange(80))


@pytest.fixture(scope="module")
def evaluation(small_guard, images):
    run = attack(small_guard.model, images.images, images.labels, suite="quick")
    return evaluate_attacks(small_guard, images, run, model="small")


@pytest.fixture(scope="module")
def figures(small_guard, images, evaluation):
    return drawn(small_guard, images, evaluation)


def drawn(guard, images, evaluation):
    pictures = pictures_of(images, evaluation)
    return figures_of(evaluation.judged, pictures, embedding_of(guard, images, evaluation))


def test_scores_are_of_clean_inputs_and_of_what_counts(figures, evaluation):
    np.testing.assert_array_equal(figures.clean_scores, evaluation.clean.score)
    for result, seen in evaluation.attacked:
        right = result.clean_prediction == result.labels
        counts = right & (~result.success if result.control else result.success)
        np.testing.assert_array_equal(
            figures.scores[str(result.budget)], seen.score[counts.numpy()]
        )
    assert figures.controls == {"linf_uniform_noise 8/255"}


def test_the_threshold_parts_flagged_from_passed(figures, evaluation):
    clean = evaluation.clean
    scores = np.concatenate([clean.score, *(seen.score for _, seen in evaluation.attacked)])
    flagged = np.concatenate([clean.flagged, *(seen.flagged for _, seen in evaluation.attacked)])
    assert scores[flagged].min() >= figures.threshold > scores[~flagged].max()


def test_classes_calibrated_apart_have_no_threshold_in_common(small, digits, images, evaluation):
    guard = Guard.fit(
        small.module,
        digits["reference"].images,
        calibration_images=digits["calibration"].images,
        per_class=True,
        false_alarm_rate=0.2,
        units=64,
    )
    run = AttackRun("quick", 0, tuple(result for result, _ in evaluation.attacked))
    other = evaluate_attacks(guard, images, run, model="small")
    assert drawn(guard, images, other).threshold is None


def test_robust_accuracy_falls_where_an_image_is_lost(figures, evaluation):
    eps, accuracy, norm = figures.curves["linf_fmn"]
    result = next(r for r, _ in evaluation.attacked if r.attack == "linf_fmn")
    assert norm == "linf"
    for at, value in list(zip(eps, accuracy, strict=True))[::20]:
        lost = (result.success & (result.distances <= at)).double().mean().item()
        assert value == pytest.approx(1 - lost, abs=1e-9)


def test_pictures_are_successes_of_different_images(figures, images):
    assert len(figures.pictures) == 4  # a family each
    shown = set()
    for row in figures.pictures:
        at = [i for i in range(80) if np.array_equal(images.images[i].numpy(), row.clean)]
        shown.update(at)
        assert len(at) == 1
        assert row.true_label == images.classes[images.labels[at[0]]] == row.clean_label
        assert (row.attacked_label == row.true_label) == ("noise" in row.attack)
        assert not np.array_equal(row.clean, row.attacked)
    assert len(shown) == 4


def test_classes_that_the_data_do_not_name_go_by_their_number(small_guard, images, evaluation):
    few = replace(images, classes=("zero", "one"))
    for row in pictures_of(few, evaluation):
        names = {row.true_label, row.clean_label, row.attacked_label}
        assert names <= {"zero", "one", *map(str, range(2, 10))}
