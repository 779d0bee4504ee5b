"""Runs, pictures and models of a user's own, made through the command line where it makes them."""

import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from advdetect.cli import app

SOURCE = """
import torch
from torch import nn


def make():
    hidden = [part for _ in range(3) for part in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))


def without_relu():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10))


def scripted():
    return torch.jit.trace(make().eval(), torch.zeros(2, 1, 8, 8))


def coloured():
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 1, 1), *make())
"""


@pytest.fixture(scope="session")
def advdetect():
    """``advdetect(*arguments, input=None)``: the command line, in this process."""

    def invoke(*arguments, **options):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)

    return invoke


@pytest.fixture
def refused(advdetect):
    """``refused(*arguments, error=start)``: one line, status 1, and nothing else."""

    def check(*arguments, error, **options):
        result = advdetect(*arguments, **options)
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith(f"error: {error}"), result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
        # What a bug raises is kept here, and its traceback shown to the user.
        assert isinstance(result.exception, SystemExit)
        return result.stderr

    return check


@pytest.fixture(scope="session")
def small_run(advdetect, small_model, tmp_path_factory):
    """Attacks on reference digits."""
    out = tmp_path_factory.mktemp("runs") / "attacked"
    options = ["--data", "digits", "--split", "reference", "--suite", "quick", "--limit", "80"]
    result = advdetect("attack", small_model, *options, "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="session")
def save():
    """``save(file, image)``: write pixels in [0, 1], of shape (c, h, w), as an 8-bit picture."""

    def write(file, image):
        array = (np.asarray(image) * 255).round().astype(np.uint8)
        Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, 2)).save(file)
        return file

    return write


@pytest.fixture(scope="session")
def pictures(digits, save, tmp_path_factory):
    """A folder of ten pictures of digits."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(digits["evaluation"].images[:10]):
        save(folder / f"{i}.png", image)
    return folder


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """The current folder, with a module ``my_models`` of factories in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "my_models.py").write_text(SOURCE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield folder
    sys.modules.pop("my_models", None)
