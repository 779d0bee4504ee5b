"""Torchvision works beside any torch, and its models are found by name."""

import subprocess
import sys

import pytest
import torch

from advdetect import vision
from advdetect.errors import ModelError


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


def test_importing_the_module_imports_nothing_heavy():
    code = "import sys, advdetect.vision; print({'torch', 'torchvision'} & set(sys.modules))"
    assert python(code).stdout == "set()\n"


def test_a_fresh_process_imports_torchvision_without_a_word():
    result = python("from advdetect.vision import torchvision; print(torchvision().__name__)")
    assert (result.stdout, result.stderr) == ("torchvision\n", "")


def test_operators_that_are_there_are_left_alone():
    # As beside a torchvision whose compiled half loads: the schema is defined already.
    code = (
        "import torch\n"
        "library = torch.library.Library('torchvision', 'FRAGMENT')\n"
        "for name in ('nms', 'qnms'):\n"
        "    library.define(f'{name}(Tensor d, Tensor s, float t) -> Tensor')\n"
        "from advdetect import vision\n"
        "print(vision.torchvision().__name__, vision._libraries)\n"
    )
    result = python(code)
    assert (result.stdout, result.stderr) == ("torchvision []\n", "")


def test_operators_are_defined():
    vision.torchvision()
    assert all(hasattr(torch.ops.torchvision, name) for name in vision.OPERATORS)


def test_builds_a_model_in_eval_mode():
    network = vision.model("squeezenet1_1", classes=7)
    assert not network.training
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet_18", "no classifier named 'resnet_18', perhaps you meant: resnet18"),
        ("fasterrcnn_resnet50_fpn", "no classifier named 'fasterrcnn_resnet50_fpn'"),
        ("", "perhaps you meant: resnet18, vgg11_bn"),
    ],
)
def test_names_close_models(name, message):
    with pytest.raises(ModelError, match=message):
        vision.model(name)


def test_models_that_warn_of_their_initialisation_are_built_silently():
    assert vision.model("googlenet", classes=2).fc.out_features == 2
