"""A guard by its folder or by a shipped model's name."""

import shutil

import pytest
import torch

from advdetect.errors import FileError
from advdetect.networks.loading import shipped_models
from advdetect.workflows.guards import guard_folder, load_guard


def test_a_folder_or_a_shipped_models_name(small_guard_folder, tmp_path, monkeypatch):
    assert load_guard(str(small_guard_folder)).about["model"] == "small"
    shutil.copytree(small_guard_folder, tmp_path / "mine" / "guard")
    monkeypatch.setattr("advdetect.workflows.guards.models_folder", lambda: tmp_path)
    assert load_guard("mine").about["model"] == "small"


def test_a_folder_comes_before_a_shipped_model_of_that_name(
    small_guard_folder, tmp_path, monkeypatch
):
    shutil.copytree(small_guard_folder, tmp_path / "fashion-resnet")
    monkeypatch.chdir(tmp_path)
    assert load_guard("fashion-resnet").about["model"] == "small"


def test_says_what_is_missing(tmp_path):
    with pytest.raises(FileError, match=r"no guard 'nobody' \(no such folder\): .*fashion-resnet"):
        load_guard("nobody")
    with pytest.raises(
        FileError, match=r"\(it holds no guard.json\): expected a folder written by"
    ):
        load_guard(str(tmp_path))


@pytest.mark.parametrize("name", [m for m in shipped_models() if "/" not in m])
def test_every_shipped_guard_judges_pictures(name):
    guard = load_guard(name)
    pictures = torch.rand(3, *guard.input_shape, generator=torch.Generator().manual_seed(0))
    verdicts = guard(pictures)
    assert torch.equal(verdicts.label, guard.model(pictures).argmax(1))
    assert verdicts.score.isfinite().all()


def test_names_the_shipped_models_that_have_a_guard():
    with pytest.raises(FileError, match="or one of cifar10-resnet, .*fashion-resnet") as refused:
        guard_folder("nothing")
    assert "tiny-10" not in str(refused.value)
