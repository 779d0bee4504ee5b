"""A wheel works far from the checkout, and set-up installs what was tested."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONSTRAINTS = {
    canonicalize_name(requirement.name): requirement
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for requirement in [Requirement(line)]
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


@pytest.mark.parametrize("wanted", WANTED)
def test_a_constraint_pins_every_dependency_within_its_range(wanted):
    requirement = Requirement(wanted)
    (pin,) = CONSTRAINTS[canonicalize_name(requirement.name)].specifier
    assert pin.operator == "=="
    assert requirement.specifier.contains(pin.version)


@pytest.mark.parametrize("name", ["torch", "torchvision", "foolbox", "numpy", "scikit-learn"])
def test_the_checks_run_with_the_pinned_versions(name):
    # A local label such as +cpu says how torch was built, not which torch it is.
    assert CONSTRAINTS[name].specifier.contains(version(name).partition("+")[0])


def test_no_constraint_pulls_in_cuda():
    assert not [name for name in CONSTRAINTS if "nvidia" in name or "cuda" in name]
    assert not [str(pin) for pin in CONSTRAINTS.values() if "+" in str(pin)]


def copy_scripts(folder):
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder / "scripts" / "setup"


def run_setup(script, **environment):
    bash = shutil.which("bash")
    return subprocess.run(
        [bash, script], env=environment, capture_output=True, text=True, check=False
    )


def test_set_up_without_python_says_what_to_install(tmp_path):
    result = run_setup(copy_scripts(tmp_path), PATH=str(tmp_path))
    assert result.returncode == 1
    assert "error: no Python 3.11 or newer found; install one, or name it: PYTHON=" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_set_up_refuses_a_named_python_that_is_none(tmp_path):
    result = run_setup(copy_scripts(tmp_path), PATH=os.environ["PATH"], PYTHON="python2.5")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: PYTHON=python2.5 is no Python 3.11 or newer\n"
    assert not (tmp_path / ".venv").exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What ``python -m build`` makes of a checkout with a half-trained model in it."""
    tree = tmp_path_factory.mktemp("checkout")
    for folder in ("advdetect", "models", "scripts"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "constraints.txt"):
        shutil.copy(ROOT / name, tree)
    (tree / "models/half-trained").mkdir()
    (tree / "models/half-trained/card.json").write_text("{}")
    (tree / "models/half-trained/checkpoint.safetensors").write_bytes(b"x")
    # No isolation: set-up has installed the build backend, and nothing is fetched any more.
    command = [sys.executable, "-m", "build", "--no-isolation"]
    # With no option the wheel is made from the sdist, so that one must hold all of it.
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    # And from the tree itself, where the checkpoint lies.
    direct = [*command, "--wheel", "--outdir", "direct"]
    subprocess.run(direct, cwd=tree, check=True, capture_output=True)
    return tree


@pytest.mark.parametrize("folder", ["dist", "direct"])
def test_the_wheel_carries_data_models_and_licences(built, folder):
    (wheel,) = (built / folder).glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    expected = {
        "advdetect/py.typed",
        "advdetect/report/page.css",
        "advdetect/service/page/index.html",
        "advdetect/service/page/style.css",
        "advdetect/service/page/icon.svg",
        "advdetect/service/page/main.js",
        "advdetect/data/LICENSE.fashion-mnist",
        "advdetect/data/files/t10k-images-idx3-ubyte.gz",
        "advdetect/data/files/t10k-labels-idx1-ubyte.gz",
        "advdetect/models/half-trained/card.json",
        "advdetect/models/fashion-resnet/card.json",
        "advdetect/models/fashion-resnet/weights.safetensors",
        "advdetect/models/fashion-resnet/guard/guard.json",
    }
    assert expected <= set(names)
    assert {Path(name).name for name in names if ".dist-info/licenses/" in name} == {
        "LICENSE",
        "LICENSE.fashion-mnist",
    }
    assert not [name for name in names if "checkpoint.safetensors" in name]
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"advdetect"}


def test_the_sdist_carries_what_a_wheel_is_made_of(built):
    (sdist,) = (built / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"constraints.txt", "scripts/setup", "models/fashion-resnet/card.json"} <= names
    assert not [name for name in names if "checkpoint.safetensors" in name]


def test_an_installed_wheel_finds_its_data_and_its_models(built, tmp_path):
    (wheel,) = (built / "dist").glob("*.whl")
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(installed)
    elsewhere.mkdir()
    code = (
        "from advdetect import data, networks\n"
        "print(networks.models_folder())\n"
        "print(len(data.load('fashion-mnist', split='evaluation')))\n"
        "print(type(networks.load_model('fashion-resnet').module).__name__)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == [str(installed / "advdetect/models"), "3000", "ResNet"]
