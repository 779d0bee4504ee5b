"""From a run of attacks to a guard's folder."""

import shutil
from dataclasses import replace

import pytest
import torch

from advdetect import data, storage
from advdetect.errors import FileError, InputError, ModelError
from advdetect.guard import Guard
from advdetect.networks import load_model
from advdetect.workflows.attacking import attack_data
from advdetect.workflows.fitting import fit_guard


@pytest.fixture(scope="module")
def attacked(small, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "attacked"
    attack_data(small, digits["reference"].subset(range(100)), folder, suite="quick")
    return folder


def fit(small, digits, folder, **options):
    return fit_guard(small, digits["reference"], digits["calibration"], folder, **options)


def test_fits_on_a_run_and_keeps_the_guard(small, digits, attacked, tmp_path):
    guard, summary = fit(small, digits, tmp_path / "guard", attacked=attacked)
    again = Guard.load(tmp_path / "guard")
    images = digits["evaluation"].images[:20]
    assert torch.equal(guard(images).score, again(images).score)
    assert again.about["model"] == small.name
    assert again.about["classes"] == [str(c) for c in range(10)]
    assert again.architecture == small.architecture
    assert summary.detector == "logistic"
    assert summary.attacks == ("linf_fgsm 8/255", "linf_pgd 8/255", "linf_fmn")
    assert summary.calibration == len(digits["calibration"])
    assert summary.reference + summary.fitting == len(digits["reference"])
    assert summary.features == len(guard.extractor.columns)
    assert summary.to_json()["folder"] == str(tmp_path / "guard")


def test_without_a_run_it_attacks_some_images_itself(small, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("advdetect.workflows.fitting.ATTACKED", 40)
    shown = []

    def track(items, description):
        shown.append(description)
        return items

    guard, _ = fit(small, digits, tmp_path / "guard", track=track)
    assert guard.about["suite"] == "quick"
    assert shown[0] == "attacking"
    assert 0 < int((guard.fitting.origin > 0).sum()) <= 3 * 40


def test_a_clean_only_guard_attacks_nothing(small, digits, tmp_path):
    shown = []
    guard, summary = fit(
        small,
        digits,
        tmp_path / "guard",
        detector="clean-only",
        track=lambda items, description: shown.append(description) or items,
    )
    assert "attacking" not in shown
    assert summary.attacks == ()
    assert guard.about["suite"] is None


@pytest.mark.parametrize("split", ["evaluation", "calibration"])
def test_a_run_on_other_than_reference_images_is_refused(small, digits, tmp_path, split):
    run = tmp_path / "run"
    attack_data(small, digits[split].subset(range(3)), run, suite="quick")
    with pytest.raises(InputError, match=f"was made on {split} images: a guard is fitted on refer"):
        fit(small, digits, tmp_path / "guard", attacked=run)
    assert not (tmp_path / "guard").exists()


def test_a_run_on_other_data_is_refused(small, digits, attacked, tmp_path):
    other = replace(digits["reference"], name="letters")
    with pytest.raises(InputError, match="was made on digits, not on letters"):
        fit_guard(small, other, digits["calibration"], tmp_path / "guard", attacked=attacked)


def test_a_run_against_another_model_is_refused(small_model, digits, attacked, tmp_path):
    other = load_model(str(small_model))
    with torch.no_grad():
        other.module.classifier.bias += 1
    with pytest.raises(ModelError, match="attacked attacked another model than "):
        fit(other, digits, tmp_path / "guard", attacked=attacked)


def test_an_unfinished_run_is_refused(small, digits, attacked, tmp_path):
    run = shutil.copytree(attacked, tmp_path / "run")
    next((run / "adversarial").glob("linf_pgd*")).unlink()
    with pytest.raises(FileError, match=r"is not finished, linf_pgd-8_255-000000 is missing"):
        fit(small, digits, tmp_path / "guard", attacked=run)
    with pytest.raises(FileError, match=r"no run in .*nothing: expected a folder with manifest"):
        fit(small, digits, tmp_path / "guard", attacked=tmp_path / "nothing")


def test_too_few_calibration_images_are_refused_before_anything_is_attacked(
    small, digits, tmp_path
):
    def track(items, description):
        raise AssertionError("work was done before the check")

    few = digits["calibration"].subset(range(98))
    with pytest.raises(
        InputError, match=r"0.01 needs at least 99 clean calibration inputs, got 98"
    ):
        fit_guard(
            small,
            digits["reference"],
            few,
            tmp_path / "guard",
            false_alarm_rate=0.01,
            track=track,
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "oracle"}, "no detector named 'oracle', choose from: logistic"),
        ({"suite": "loud"}, "no suite named 'loud', choose from"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_attacked(
    small, digits, tmp_path, options, message
):
    def track(items, description):
        raise AssertionError("work was done before the check")

    with pytest.raises(InputError, match=message):
        fit(small, digits, tmp_path / "guard", track=track, **options)


def test_images_of_the_wrong_size_are_refused_before_anything_is_attacked(small_model, tmp_path):
    """A card that says what its model takes is believed."""
    reference, calibration = (
        data.load("digits", split=split, limit=60, resize=(12, 12))
        for split in ("reference", "calibration")
    )
    card = storage.read_json(small_model / "card.json")
    assert card["input"]["shape"] == [1, 8, 8]
    with pytest.raises(InputError, match=r"expected images of shape \(1, 8, 8\)"):
        fit_guard(load_model(str(small_model)), reference, calibration, tmp_path / "guard")


def test_a_guards_folder_is_written_over_by_the_next_fit(small, digits, tmp_path):
    for rate in (0.1, 0.05):
        fit(small, digits, tmp_path, detector="clean-only", false_alarm_rate=rate)
    assert Guard.load(tmp_path).false_alarm_rate == 0.05
