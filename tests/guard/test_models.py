"""Guards of models that compute, answer or are called otherwise than most."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from advdetect.errors import ModelError
from advdetect.guard import Guard
from advdetect.metrics import false_alarm_interval
from advdetect.networks import load_model


def fit(model, digits):
    calibration = digits["calibration"].images
    return Guard.fit(model, digits["reference"].images, calibration_images=calibration, units=64)


def test_threads_get_the_verdicts_that_they_would_get_alone(small_guard, digits):
    parts = digits["evaluation"].images[:160].split(20)
    alone = [small_guard(part).score for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(small_guard, parts), alone, strict=True):
            torch.testing.assert_close(found.score, expected)


def test_a_model_in_training_mode_is_refused(small_guard, digits):
    small_guard.model.train()
    try:
        with pytest.raises(ModelError, match="training mode.*call model.eval"):
            small_guard(digits["evaluation"].images[:2])
    finally:
        small_guard.model.eval()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_of_other_precisions_are_guarded(small_model, digits, dtype):
    model = load_model(str(small_model)).module.to(dtype)
    images = {name: images.images.to(dtype) for name, images in digits.items()}
    guard = Guard.fit(
        model,
        images["reference"],
        calibration_images=images["calibration"],
        units=64,
        passes=2,
        gradient=True,
    )
    flagged = guard(images["evaluation"]).flagged.double().mean().item()
    low, high = false_alarm_interval(0.05, 360, len(images["evaluation"]), confidence=0.999)
    assert low <= flagged <= high


def test_mixed_precision_around_a_guard(small_guard, digits):
    images = digits["evaluation"].images[:50]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = small_guard(images)
    assert mixed.score.isfinite().all()
    assert (mixed.label == small_guard(images).label).double().mean() > 0.9


class Overflowing(nn.Module):
    """NaN for pictures with a white corner."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        logits = self.model(images)
        return torch.where(images[:, 0, :1, 0] == 1, torch.nan, logits)


def test_logits_that_are_not_finite_are_named(small, digits):
    guard = fit(Overflowing(small.module), digits)
    images = digits["evaluation"].images[:5].clone()
    assert len(guard(images)) == 5
    images[3, :, 0, 0] = 1
    with pytest.raises(ModelError, match="not finite for 1 of 5 images, .* number 3"):
        guard(images)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda logits: (logits,), "to return .n, classes. logits, got tuple"),
        (lambda logits: logits[:, 0], "to return .n, classes. logits, got .3,."),
        (lambda logits: logits[:, :1], "of the model for at least 2 classes, got 1"),
        (lambda logits: logits.double(), "in double precision: give model.float"),
    ],
)
def test_models_without_logits_are_refused(small, digits, output, message):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = small.module

        def forward(self, images):
            return output(self.model(images))

    with pytest.raises(ModelError, match=message):
        fit(Odd(), digits)


def test_a_model_that_asks_for_gradients_itself(small, digits):
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = small.module

        def forward(self, images):
            with torch.enable_grad():
                return self.model(images)

    assert len(fit(Asking(), digits)(digits["evaluation"].images[:3])) == 3


def test_what_is_constant_among_clean_rows_does_not_judge(small, digits):
    """The logits of this model are so large that their columns end where half precision does."""
    model = copy.deepcopy(small.module)

    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            return 1e6 * self.model(images)

    guard = fit(Large().eval(), digits)
    together = guard(digits["evaluation"].images[:40])
    alone = [guard(image[None]) for image in digits["evaluation"].images[:40]]
    found = torch.stack([verdict.score[0] for verdict in alone])
    torch.testing.assert_close(found, together.score, rtol=1e-3, atol=1e-3)
    assert together.flagged.float().mean() < 0.3
