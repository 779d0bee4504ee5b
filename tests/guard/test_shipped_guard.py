"""The shipped guard on real pictures."""

import shutil

import numpy as np
import pytest
import torch

from advdetect import data
from advdetect.attacks import attack
from advdetect.errors import FileError, InputError, ModelError
from advdetect.guard import Guard
from advdetect.networks import load_model, models_folder

FOLDER = models_folder() / "fashion-resnet" / "guard"


@pytest.fixture(scope="module")
def guard():
    return Guard.load(FOLDER)


@pytest.fixture(scope="module")
def pictures():
    return data.load("fashion-mnist", split="evaluation", limit=60)


def test_tells_attacked_from_clean(guard, pictures):
    run = attack(guard.model, pictures.images, pictures.labels, suite="quick")
    pgd = next(result for result in run.results if result.attack == "linf_pgd")
    attacked = pgd.adversarial[pgd.counted]
    assert len(attacked) > 40
    assert guard(attacked).flagged.float().mean() > 0.9
    assert guard(pictures.images).flagged.float().mean() < 0.2


def test_a_verdict_depends_on_its_own_picture_alone(guard, pictures):
    together = guard(pictures.images[:10])
    for i in range(10):
        alone = guard(pictures.images[i : i + 1])
        assert alone.score.item() == pytest.approx(together.score[i].item(), abs=1e-3)
        assert alone.label.item() == together.label[i].item()


def test_evidence_adds_up_to_the_score(guard, pictures):
    verdicts = guard(pictures.images[:20])
    total = sum(verdicts.evidence.values()) + float(guard.detector.intercept_[0])
    torch.testing.assert_close(total, verdicts.score)


def test_p_values_are_ranks_among_the_held_out(guard, pictures):
    verdicts = guard(pictures.images)
    known = guard.calibration.scores
    for score, p_value in zip(verdicts.score.tolist(), verdicts.p_value.tolist(), strict=True):
        assert p_value == pytest.approx((1 + np.sum(known >= score)) / (len(known) + 1))
    assert torch.equal(verdicts.flagged, verdicts.p_value <= guard.false_alarm_rate)


def test_the_soft_score_has_gradients_and_follows_the_score(guard, pictures):
    images = pictures.images.clone().requires_grad_()
    soft = guard.soft_score(images, sharpness=30)
    soft.sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().sum() > 0
    score = guard(pictures.images).score
    assert np.corrcoef(soft.detach().numpy(), score.numpy())[0, 1] > 0.9


def test_saved_and_read_back_it_says_the_same(guard, pictures, tmp_path):
    guard.save(tmp_path)
    again = Guard.load(tmp_path)(pictures.images)
    assert torch.equal(again.score, guard(pictures.images).score)


@pytest.mark.parametrize("name", [path.name for path in sorted(FOLDER.glob("*.safetensors"))])
def test_a_changed_byte_is_refused(name, tmp_path):
    shutil.copytree(FOLDER, tmp_path / "guard")
    file = tmp_path / "guard" / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileError, match=f"{name} is damaged or was changed"):
        Guard.load(tmp_path / "guard")


def test_another_models_weights_are_refused():
    other = load_model("fashion-resnet").module
    with torch.no_grad():
        other.classifier.bias += 1
    with pytest.raises(ModelError, match="was fitted on another model"):
        Guard.load(FOLDER, model=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :, :20], r"expected images of shape \(1, 28, 28\)"),
        (lambda x: x * 255, r"pixels must lie in \[0, 1\]"),
        (lambda x: x / 0, "pixels must be finite"),
        (lambda x: (x * 255).byte(), "divide 8-bit pixels by 255"),
    ],
)
def test_says_what_is_wrong_with_images(guard, pictures, change, message):
    with pytest.raises(InputError, match=message):
        guard(change(pictures.images[:2]))


def test_fit_keeps_calibration_images_out_of_the_detector(pictures):
    model = load_model("fashion-resnet").module
    clean = data.load("fashion-mnist", split="reference", limit=300)
    run = attack(model, clean.images[:80], clean.labels[:80], suite="quick")
    guard = Guard.fit(model, clean.images, run, units=64)
    counts = guard.about["images"]
    assert sum(counts.values()) == 300
    assert counts["calibration"] == 90
    pgd = next(result for result in run.results if result.attack == "linf_pgd")
    rows = int((guard.fitting.origin == 1 + guard.fitting.budgets.index("linf_pgd 8/255")).sum())
    # About 30 % of the attacked images calibrate, and their attacked twins are dropped.
    assert 0 < rows < int(pgd.counted.sum())
    assert "linf_uniform_noise 8/255" not in guard.fitting.budgets


def test_fit_says_when_calibration_images_are_too_few():
    model = load_model("fashion-resnet").module
    clean = data.load("fashion-mnist", split="reference", limit=40).images
    with pytest.raises(InputError, match="0.05 needs at least 19 clean calibration inputs, got 12"):
        Guard.fit(model, clean)
