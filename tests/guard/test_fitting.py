"""Fitting and calibrating a guard on data small enough to check the rest by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, kstest
from torch import nn

from advdetect.errors import InputError, ModelError
from advdetect.guard import Guard
from advdetect.metrics import false_alarm_interval


def fit(model, digits, attacked=None, **options):
    options = {"calibration_images": digits["calibration"].images, "units": 64} | options
    return Guard.fit(model, digits["reference"].images, attacked, **options)


@pytest.fixture(scope="module")
def clean_only(small, digits):
    return fit(small.module, digits)


@pytest.fixture(scope="module")
def verdicts(small_guard, digits):
    return small_guard(digits["evaluation"].images)


def test_tells_attacked_digits_from_clean(small_guard, small_attacks, digits):
    fmn = next(result for result in small_attacks.results if result.attack == "linf_fmn")
    assert small_guard(fmn.adversarial[fmn.counted]).flagged.float().mean() > 0.9
    assert small_guard(digits["evaluation"].images).flagged.float().mean() < 0.1


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
def test_clean_inputs_are_flagged_about_as_often_as_asked(verdicts, digits, alpha):
    n, calibration = len(digits["evaluation"]), len(digits["calibration"])
    low, high = false_alarm_interval(alpha, calibration, n, confidence=0.999)
    assert low <= float((verdicts.p_value <= alpha).double().mean()) <= high


def test_p_values_of_clean_inputs_are_uniform(small_guard, verdicts, clean_only, digits):
    held_out = small_guard.calibration.scores
    assert ks_2samp(held_out, verdicts.score.numpy()).pvalue > 1e-3
    assert kstest(verdicts.p_value.numpy(), "uniform").pvalue > 1e-3
    clean = clean_only(digits["evaluation"].images).p_value.numpy()
    assert kstest(clean, "uniform").pvalue > 1e-3


def test_calibration_scores_are_those_of_the_calibration_images(small_guard, digits):
    verdicts = small_guard(digits["calibration"].images)
    scores = verdicts.score.numpy()
    np.testing.assert_allclose(small_guard.calibration.scores, scores, rtol=1e-4, atol=1e-3)


def test_a_verdict_does_not_depend_on_the_batch(small_guard, digits):
    images = digits["evaluation"].images[:30]
    together = small_guard(images)
    order = torch.arange(29, -1, -1)
    backwards = small_guard(images[order])
    white = torch.ones(5, 1, 8, 8)
    among_others = small_guard(torch.cat([white, images, 0 * white]))
    for name in ("label", "confidence", "score", "p_value"):
        expected = getattr(together, name)
        near = {"rtol": 1e-4, "atol": 1e-3}
        torch.testing.assert_close(getattr(backwards, name)[order], expected, **near)
        torch.testing.assert_close(getattr(among_others, name)[5:35], expected, **near)
        alone = torch.cat([getattr(small_guard(image[None]), name) for image in images])
        torch.testing.assert_close(alone, expected, **near)


def test_label_and_confidence_are_the_models_own(small, verdicts, digits):
    with torch.no_grad():
        probabilities = small.module(digits["evaluation"].images).softmax(1)
    confidence, label = probabilities.max(1)
    assert torch.equal(verdicts.label, label)
    torch.testing.assert_close(verdicts.confidence, confidence)
    assert len(verdicts) == len(label)


def test_evidence_by_layer_adds_up_to_the_score(small_guard, verdicts, digits):
    total = sum(verdicts.evidence.values()) + float(small_guard.detector.intercept_[0])
    torch.testing.assert_close(total, verdicts.score)
    # The first layer's share by another route: its standardised features, one by one.
    images = digits["evaluation"].images[:4]
    extractor, detector = small_guard.extractor, small_guard.detector
    rows = extractor.rows(extractor.observe(small_guard.model, images)).double().numpy()
    layer = next(iter(extractor.units))
    expected = np.zeros(4)
    for j, column in enumerate(extractor.columns):
        if column.layer == layer:
            z = (rows[:, j] - detector.centre_[j]) / detector.scale_[j]
            expected += np.clip(z, -10, 10) * detector.coefficients_[j]
    found = small_guard(images).evidence[layer].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert set(verdicts.evidence) == {*extractor.units, "logits"}


def test_without_attacks_a_guard_is_clean_only(clean_only, digits):
    assert clean_only.detector_name == "clean-only"
    assert clean_only.fitting.budgets == ()
    verdicts = clean_only(digits["evaluation"].images[:3])
    torch.testing.assert_close(sum(verdicts.evidence.values()), verdicts.score)
    noise = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert clean_only(noise).flagged.float().mean() > 0.9
    images = digits["evaluation"].images[:3].clone().requires_grad_()
    clean_only.soft_score(images).sum().backward()
    assert (images.grad.abs().flatten(1).sum(1) > 0).all()


@pytest.mark.parametrize("name", ["logistic", "hybrid", "fiedler"])
def test_a_detector_that_learns_from_attacks_asks_for_them(small, digits, name):
    with pytest.raises(InputError, match=f"the detector {name} learns from attacks: give attacked"):
        fit(small.module, digits, detector=name)


def test_an_unknown_detector_lists_what_there_is(small, digits):
    with pytest.raises(InputError, match="no detector named 'oracle', choose from: logistic"):
        fit(small.module, digits, detector="oracle")


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.1, 9), (0.01, 99), (0.3, 3)])
def test_a_false_alarm_rate_needs_enough_calibration_images(small, digits, rate, needed):
    images = digits["calibration"].images
    fit(small.module, digits, calibration_images=images[:needed], false_alarm_rate=rate)
    message = f"{rate} needs at least {needed} clean calibration inputs, got {needed - 1}"
    with pytest.raises(InputError, match=message):
        fit(small.module, digits, calibration_images=images[: needed - 1], false_alarm_rate=rate)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, float("nan")])
def test_a_false_alarm_rate_lies_between_0_and_1(small, digits, rate):
    with pytest.raises(InputError, match=f"a false-alarm rate lies between 0 and 1, got {rate:g}"):
        fit(small.module, digits, false_alarm_rate=rate)


def test_classes_calibrated_apart_are_ranked_among_their_own(small, digits):
    guard = fit(small.module, digits, per_class=True, false_alarm_rate=0.1)
    verdicts = guard(digits["evaluation"].images[:50])
    held_out = guard(digits["calibration"].images)
    for label, score, p_value in zip(verdicts.label, verdicts.score, verdicts.p_value, strict=True):
        own = held_out.score[held_out.label == label]
        higher = int((own >= score).sum())
        # A score may be off in its last digit and so pass its neighbour.
        assert p_value.item() == pytest.approx((1 + higher) / (len(own) + 1), abs=1.1 / len(own))


def test_classes_calibrated_apart_need_enough_images_each(small, digits):
    images = digits["calibration"].images[:60]
    message = r"0.05 needs at least 19 clean calibration inputs predicted as class \d, got \d+"
    with pytest.raises(InputError, match=message):
        fit(small.module, digits, per_class=True, calibration_images=images)


def test_the_same_seed_gives_the_same_guard(small, digits, small_attacks):
    first, again, other = (fit(small.module, digits, small_attacks, seed=s) for s in (0, 0, 1))
    images = digits["evaluation"].images[:20]
    assert torch.equal(first(images).score, again(images).score)
    assert not torch.equal(first(images).score, other(images).score)


def test_fitting_leaves_the_model_in_evaluation_mode_and_its_weights_alone(small_model, digits):
    from advdetect.networks import load_model

    model = load_model(str(small_model)).module
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit(model.train(), digits)
    assert not any(module.training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


class WithoutRelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(64, 10)

    def forward(self, images):
        return self.classifier(images.flatten(1).tanh())


def test_a_model_without_relu_calls_is_refused(digits):
    with pytest.raises(ModelError, match="no ReLU-family call"):
        fit(WithoutRelu().eval(), digits)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_model_is_refused(small, digits):
    scripted = torch.jit.trace(small.module, digits["reference"].images[:2])
    with pytest.raises(ModelError, match="TorchScript"):
        fit(scripted, digits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :, :7], r"expected images of shape \(1, 8, 8\).*got \(1, 7, 8\)"),
        (lambda x: x.expand(-1, 3, -1, -1), r"expected images of shape \(1, 8, 8\).*\(3, 8, 8\)"),
        (lambda x: x[0], r"expected images of shape \(n, c, h, w\), got \(1, 8, 8\)"),
        (
            lambda x: x * 16,
            r"pixels must lie in \[0, 1\], got \[0, 16\]: give the model raw pixels",
        ),
        (lambda x: x - 1, r"pixels must lie in \[0, 1\], got \[-1, 0\]"),
        (lambda x: x / 0, "pixels must be finite, got NaN or infinity"),
        (lambda x: (x * 16).byte(), "got torch.uint8: divide 8-bit pixels by 255"),
        (lambda x: x[:0], "expected at least one image, got none"),
        (lambda x: x.numpy(), "expected images as a torch.Tensor, got ndarray"),
    ],
)
def test_says_what_is_wrong_with_images(small_guard, digits, change, message):
    with pytest.raises(InputError, match=message):
        small_guard(change(digits["evaluation"].images[:3]))


def test_regularisation_is_chosen_by_attacks_left_out_unless_told_not_to(
    small, small_attacks, digits
):
    chosen = fit(small.module, digits, small_attacks)
    assert chosen.fitting.source is not None
    # A twin bears its source image's number, so that no image is on both sides of a trial.
    clean = chosen.fitting.origin == 0
    assert chosen.fitting.source[clean].unique().numel() == int(clean.sum())
    assert torch.isin(chosen.fitting.source, chosen.fitting.source[clean]).all()
    fixed = fit(small.module, digits, small_attacks, choose=False)
    assert fixed.fitting.source is None
    assert fixed.detector.get_params() == {"C": 1.0}
    assert torch.equal(fixed.fitting.rows, chosen.fitting.rows)


def test_what_was_chosen_is_kept_with_the_guard(small, small_attacks, digits, tmp_path):
    guard = fit(small.module, digits, small_attacks)
    guard.save(tmp_path)
    again = Guard.load(tmp_path, model=small.module)
    assert again.detector.get_params() == guard.detector.get_params()
    assert torch.equal(again.fitting.source, guard.fitting.source)
    refitted = again.fitting.fit(type(again.detector)())
    np.testing.assert_array_equal(refitted.coefficients_, guard.detector.coefficients_)
