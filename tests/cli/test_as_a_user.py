"""The command line as a user meets it: exit status, standard output, standard error."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from advdetect import data
from advdetect.cli import app

run = CliRunner().invoke


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(data.load("fashion-mnist", split="evaluation", limit=4).images):
        Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from advdetect.cli import main\n"
        "sys.argv = ['advdetect', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Find adversarial inputs" in done.stdout


def test_detect_prints_a_line_an_input(pictures):
    result = run(app, ["detect", "fashion-resnet", str(pictures), "--json"])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["name"][-5:] for line in lines] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(0 < line["p_value"] <= 1 for line in lines)


def test_a_broken_picture_costs_its_own_line(pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    arguments = ["detect", "fashion-resnet", str(broken), str(pictures / "0.png"), "--json"]
    result = run(app, arguments)
    assert result.exit_code == 1
    first, second = map(json.loads, result.stdout.splitlines())
    assert "no picture" in first["error"]
    assert second["p_value"] > 0


def test_paths_come_from_standard_input(pictures):
    result = run(app, ["detect", "fashion-resnet", "-", "--json"], input=f"{pictures}/0.png\n")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "fashion-resnet", "/no/such"], "error: /no/such: no such file or folder"),
        (["detect", "nobody", "."], "error: no guard 'nobody' (no such folder)"),
        (["attack", "nobody"], "error: no model named 'nobody', shipped are: cifar10-resnet"),
        (["attack", "fashion-resnet", "--data", "/no"], "error: no data set, folder or file named"),
        (["attack", "fashion-resnet", "--eps", "x"], "error: expected an eps such as 0.1 or 8/255"),
        (["attack", "fashion-resnet", "--suite", "x"], "error: no suite named 'x', choose from"),
        (["evaluate"], "error: name a guard to evaluate, or give --from RUN"),
        (["evaluate", "--from", "/no"], "error: no run in /no"),
        (["list", "things"], "error: no kind of names named 'things'"),
        (
            ["evaluate", "fashion-resnet", "--data", "digits"],
            "error: expected images of shape (1, 28, 28)",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_1(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(app, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_an_unknown_option_is_status_2():
    assert run(app, ["attack", "fashion-resnet", "--no-such"]).exit_code == 2


@pytest.mark.parametrize(
    "kind", ["models", "datasets", "attacks", "suites", "detectors", "features", "measures"]
)
def test_lists_are_json_for_machines(kind):
    result = run(app, ["list", kind, "--json"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) > 0
