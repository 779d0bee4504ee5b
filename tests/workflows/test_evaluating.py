"""The figures of a report against the same figures worked out directly."""

from copy import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from advdetect import evaluate
from advdetect.attacks import attack
from advdetect.data import ImageSet
from advdetect.detectors import DETECTORS
from advdetect.detectors.conformal import ConformalCalibration
from advdetect.errors import InputError
from advdetect.guard import Guard
from advdetect.guard.rows import family_of
from advdetect.metrics import false_alarm_interval
from advdetect.workflows.evaluating import evaluate_attacks
from advdetect.workflows.judging import CLEAN


@pytest.fixture(scope="module")
def images(digits):
    return digits["evaluation"].subset(range(150))


@pytest.fixture(scope="module")
def run(small, images):
    return attack(small.module, images.images, images.labels, suite="quick", seed=1)


@pytest.fixture(scope="module")
def evaluation(small_guard, images, run):
    return evaluate_attacks(small_guard, images, run, model="small")


@pytest.fixture(scope="module")
def report(evaluation):
    return evaluation.report


def own(report, name, *, fitted):
    (row,) = [
        row
        for row in report.detection
        if row.detector == "logistic" and row.attack == name and row.fitted_on_it == fitted
    ]
    return row


def counted(result):
    right = result.clean_prediction == result.labels
    wrong = result.prediction != result.labels
    return right & (~wrong if "noise" in result.attack else wrong)


def test_clean_figures(report, small_guard, images):
    verdicts = small_guard(images.images)
    right = verdicts.label == images.labels
    assert report.clean.n == 150
    assert report.clean.accuracy.value == pytest.approx(right.double().mean().item())
    passed = right[~verdicts.flagged]
    assert report.clean.accuracy_after_rejection.value == pytest.approx(
        passed.double().mean().item()
    )
    assert report.clean.accuracy_after_rejection.n == len(passed)
    for alarms in report.clean.false_alarm_rates:
        expected = (verdicts.p_value <= alarms.nominal).double().mean().item()
        assert alarms.value == pytest.approx(expected)
        assert alarms.n == 150


def test_robustness_counts_every_image_and_success_those_right_when_clean(report, run):
    for row, result in zip(report.robustness, run.results, strict=True):
        holds = result.prediction == result.labels
        right = result.clean_prediction == result.labels
        assert (row.attack, row.eps) == (result.attack, result.eps)
        assert row.robust_accuracy.value == pytest.approx(holds.double().mean().item())
        assert row.success_rate.value == pytest.approx((~holds)[right].double().mean().item())
        assert row.success_rate.n == int(right.sum())


def test_detection_counts_successes_whose_clean_twin_was_right(report, small_guard, images, run):
    clean = small_guard(images.images).score.numpy()
    for result in run.results:
        verdicts = small_guard(result.adversarial[counted(result)])
        row = own(report, result.attack, fitted=result.attack != "linf_uniform_noise")
        assert row.auroc.n == len(verdicts)
        scores = np.concatenate([clean, verdicts.score.numpy()])
        truth = np.repeat([0, 1], [len(clean), len(verdicts)])
        assert row.auroc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-3)
        for alpha, found in row.detection_rate.items():
            expected = (verdicts.p_value <= float(alpha)).double().mean().item()
            assert found.value == pytest.approx(expected, abs=1e-9)
            assert found.low <= found.value <= found.high


def test_a_family_left_out_is_judged_by_a_guard_fitted_without_it(report, small_guard, run, images):
    row = own(report, "linf_fmn", fitted=False)
    detector = type(small_guard.detector)()
    small_guard.fitting.fit(detector, without=["linf_fmn"])
    result = next(result for result in run.results if result.attack == "linf_fmn")
    extractor = small_guard.extractor

    def scores(pixels):
        seen = extractor.observe(small_guard.model, pixels)
        return detector.decision_function(
            extractor.rows(seen).numpy(), predicted=seen.predicted.numpy()
        )

    hit = scores(result.adversarial[counted(result)])
    every = np.concatenate([scores(images.images), hit])
    truth = np.repeat([0, 1], [150, len(hit)])
    assert row.auroc.value == pytest.approx(roc_auc_score(truth, every), abs=1e-3)
    held_out = small_guard.fitting.__class__.scores(small_guard.held_out, detector)
    higher = (held_out[None, :] >= hit[:, None]).sum(1)
    found = ((1 + higher) / (1 + len(held_out)) <= 0.05).mean()
    assert row.detection_rate["0.05"].value == pytest.approx(found, abs=0.02)


def test_detectors_beside_a_guard_are_calibrated_as_it_is(small_guard, images, run):
    """By class where the guard is: shares found at one threshold for all would not compare."""
    kept = small_guard.held_out.predicted.numpy()
    guard = copy(small_guard)
    guard.calibration = ConformalCalibration(guard.calibration.scores, kept)
    judged = evaluate_attacks(guard, images, run, model="small").judged
    predicted = small_guard(images.images).label.numpy()
    checked = set()
    for block in judged.scores:
        name, left_out = block.keys["detector"], block.keys["left_out"]
        if block.keys["attack"] != CLEAN or block.keys["layer"] or name == "fiedler":
            continue
        detector = type(guard.detector)(**guard.detector.get_params())
        if name != guard.detector_name:
            detector = DETECTORS[name]()
        without = [b for b in guard.fitting.budgets if family_of(b) == left_out]
        scores = guard.held_out.scores(guard.fitting.fit(detector, without=without))
        for c in np.unique(predicted):
            own, new = scores[kept == c], block["score"][predicted == c]
            expected = (1 + (own[None, :] >= new[:, None]).sum(1)) / (1 + len(own))
            np.testing.assert_allclose(block["p_value"][predicted == c], expected, atol=0.03)
        checked.add((name, left_out))
    assert checked >= {("logistic", ""), ("logistic", "fmn"), ("clean-only", "")}


def test_noise_and_clean_only_detectors_are_never_said_to_be_fitted_on(report):
    detectors = {row.detector for row in report.detection}
    assert detectors == {"logistic", "hybrid", "fiedler", "clean-only"}
    for row in report.detection:
        assert row.control == ("noise" in row.attack)
        if row.control or row.detector == "clean-only":
            assert not row.fitted_on_it


def test_the_worst_case_is_the_worst_of_each_image(report, small_guard, run):
    attacks = [result for result in run.results if "noise" not in result.attack]
    broken = torch.stack([r.prediction != r.labels for r in attacks])
    unseen = torch.stack([~small_guard(r.adversarial).flagged for r in attacks])
    worst = report.worst_case
    assert worst.attacks == 3
    assert worst.robust_accuracy.value == pytest.approx((~broken.any(0)).double().mean().item())
    both = (~(broken & unseen).any(0)).double().mean().item()
    assert worst.guarded_accuracy.value == pytest.approx(both)
    assert both > worst.robust_accuracy.value


def test_the_layers_named_are_the_guards(report, small_guard):
    groups = {(column.layer or "logits", column.family) for column in small_guard.extractor.columns}
    assert {(row.layer, row.family) for row in report.layers} == groups
    assert all(0 <= row.auroc.value <= 1 for row in report.layers)


def test_attacks_already_made_are_taken_and_others_made(small_guard, images, run, report):
    given = evaluate(small_guard, images.images, images.labels, attacked=run, model="small")
    assert given.detection == report.detection
    few = images.subset(range(20))
    made = evaluate(small_guard, few.images, few.labels, suite="quick", seed=1)
    assert [row.attack for row in made.robustness] == [row.attack for row in report.robustness]
    assert made.clean.n == 20


def test_a_guard_fitted_without_attacks_is_compared_with_no_other(small, digits, run, images):
    guard = Guard.fit(small.module, digits["reference"].images, units=64)
    report = evaluate_attacks(guard, images, run, model="small").report
    assert {row.detector for row in report.detection} == {"clean-only"}
    assert report.layers == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, :, :7], y), r"expected images of shape \(1, 8, 8\)"),
        (lambda x, y: (x * 255, y), r"pixels must lie in \[0, 1\], got \[0, 255\]"),
        (lambda x, y: (x / 0, y), "pixels must be finite"),
        (lambda x, y: (x, y[:3]), "expected 9 labels, one per image, got shape"),
        (lambda x, y: (x, y + 1), "labels must run from 0 to 9, got 1 to 10"),
        (lambda x, y: (x, y - 1), "labels must run from 0"),
        (lambda x, y: (x, y.float()), "expected integer labels, got torch.float32"),
    ],
)
def test_says_what_is_wrong(small_guard, images, change, message):
    nine = torch.cat([(images.labels == c).nonzero()[:1, 0] for c in (0, *range(2, 10))])
    some, labels = change(images.images[nine], images.labels[nine])
    with pytest.raises(InputError, match=message):
        evaluate(small_guard, some, labels, suite="quick")


def test_attacks_of_other_images_do_not_pass_for_these(small_guard, run, digits):
    other = ImageSet(
        "x", "evaluation", torch.zeros(2, 3, 8, 8), torch.zeros(2).long(), torch.arange(2), ()
    )
    with pytest.raises(InputError, match=r"expected images of shape \(1, 8, 8\)"):
        evaluate_attacks(small_guard, other, run, model="small")


def test_few_calibration_images_and_a_rate_of_ones_own(small, digits, images, run):
    """Of 60 images none has a p-value of 1 %: a calibrated guard flags nobody there."""
    guard = Guard.fit(
        small.module,
        digits["reference"].images,
        calibration_images=digits["calibration"].images[:60],
        false_alarm_rate=0.02,
        units=64,
    )
    report = evaluate_attacks(guard, images, run, model="small").report
    least = report.clean.false_alarm_rates[-1]
    assert (least.nominal, least.expected_low, least.expected_high) == (0.01, 0, 0)
    assert all("0.02" in row.detection_rate for row in report.detection)
    assert report.false_alarm_rate == 0.02


def test_where_a_calibrated_guard_falls_by_class(small, digits, images, run):
    guard = Guard.fit(
        small.module,
        digits["reference"].images,
        calibration_images=digits["calibration"].images,
        false_alarm_rate=0.1,
        per_class=True,
        units=64,
    )
    report = evaluate_attacks(guard, images, run, model="small").report
    predicted = guard(images.images).label
    behind = np.bincount(guard.calibration.predicted, minlength=10)
    counted = np.bincount(predicted.numpy(), minlength=10)
    assert (behind > 0).all()
    for alarms in report.clean.false_alarm_rates:
        expected = false_alarm_interval(alarms.nominal, behind.tolist(), counted.tolist())
        assert (alarms.expected_low, alarms.expected_high) == pytest.approx(expected)
