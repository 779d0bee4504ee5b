"""A run goes on where it stopped, and never into another run's folder."""

import json
from importlib.metadata import PackageNotFoundError

import numpy
import pytest
import torch

from advdetect.errors import FileError
from advdetect.runs import RunFolder, versions

CONFIGURATION = {"model": "m", "seed": 0, "settings": {"resize": None}, "budgets": [["a", 0.1]]}


def start(path, **changes):
    return RunFolder.start(path, "attack", CONFIGURATION | changes)


def test_a_manifest_says_what_the_run_is(tmp_path):
    run = start(tmp_path / "deep" / "run")
    manifest = json.loads((tmp_path / "deep" / "run" / "manifest.json").read_text())
    assert manifest == run.manifest
    assert manifest["schema"] == 1
    assert manifest["command"] == "attack"
    assert manifest["configuration"] == run.configuration == CONFIGURATION
    assert manifest["threads"] == torch.get_num_threads()
    assert manifest["device"] == "cpu"
    assert manifest["versions"] == versions() | {"python": manifest["versions"]["python"]}


def test_versions_of_what_results_depend_on():
    assert {"advdetect", "torch", "foolbox", "numpy", "scikit-learn"} == set(versions())
    assert versions()["numpy"] == numpy.__version__


def test_a_package_without_metadata_is_of_unknown_version(monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert set(versions().values()) == {"unknown"}


def test_the_same_command_takes_the_run_up(tmp_path):
    first = start(tmp_path)
    before = (tmp_path / "manifest.json").read_bytes()
    first.write("shard-0", {"x": torch.ones(2)})
    again = start(tmp_path)
    assert again.has("shard-0")
    assert not again.has("shard-1")
    assert torch.equal(again.read("shard-0")["x"], torch.ones(2))
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_tuples_are_no_reason_to_refuse_a_run(tmp_path):
    first = start(tmp_path, settings={"resize": (28, 28)})
    assert start(tmp_path, settings={"resize": (28, 28)}).configuration == first.configuration


def test_newer_packages_are_no_reason_to_refuse_a_run(tmp_path):
    manifest = start(tmp_path).manifest
    changed = manifest | {"versions": {"torch": "0.1"}}
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    assert start(tmp_path).manifest["versions"] == {"torch": "0.1"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"holds another run \(its seed is 0, not 1\): give another --out, or repeat"),
        ({"model": "n"}, r"\(its model is m, not n\)"),
        ({"limit": 5}, r"\(its limit is None, not 5\)"),
        ({"settings": {"resize": [8, 8]}}, r"\(its settings is {'resize': None}, not {'resize'"),
    ],
)
def test_refuses_a_run_of_another_configuration(tmp_path, changes, message):
    start(tmp_path)
    with pytest.raises(FileError, match=message):
        start(tmp_path, **changes)
    assert start(tmp_path).configuration == CONFIGURATION


def test_refuses_a_run_of_another_command(tmp_path):
    start(tmp_path)
    with pytest.raises(FileError, match=r"another run \(its command is attack, not evaluate\)"):
        RunFolder.start(tmp_path, "evaluate", CONFIGURATION)


def test_refuses_another_number_of_threads(tmp_path, monkeypatch):
    # Sums in another order differ in the last digit: the records would not be the same bytes.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    start(tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(FileError, match=r"another run \(its threads is 1, not 2\)"):
        start(tmp_path)


def test_refuses_another_kind_of_device(tmp_path):
    start(tmp_path)
    with pytest.raises(FileError, match=r"another run \(its device is cpu, not cuda\)"):
        RunFolder.start(tmp_path, "attack", CONFIGURATION, device="cuda")


def test_a_run_that_does_not_say_its_device_is_a_cpu_s(tmp_path):
    manifest = start(tmp_path).manifest
    del manifest["device"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert start(tmp_path).manifest == manifest


def test_refuses_a_folder_of_something_else(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileError, match="is not empty and holds no run: give another --out"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_manifest_cut_short_by_a_crash_is_begun_again(tmp_path):
    (tmp_path / ".manifest.json.99.part").write_text('{"schema"')
    assert start(tmp_path).configuration == CONFIGURATION


def test_refuses_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(FileError, match="run is a file: --out expects a folder"):
        start(tmp_path / "run")


@pytest.mark.parametrize("begin", [start, RunFolder.open])
def test_refuses_a_newer_schema_and_a_damaged_manifest(tmp_path, begin):
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"schema": 2}')
    with pytest.raises(FileError, match="schema 2, this version reads up to 1: update advdetect"):
        begin(tmp_path)
    manifest.write_text('{"schema": 1')
    with pytest.raises(FileError, match="manifest.json is no readable JSON file"):
        begin(tmp_path)
    manifest.write_text('{"schema": 1, "command": "attack", "configuration": [], "threads": 2}')
    with pytest.raises(FileError, match=r"changed: expected 'configuration' as dict, got \[\]"):
        begin(tmp_path)


def test_opens_a_run_to_read_it(tmp_path):
    start(tmp_path).write("shard-0", {"x": torch.zeros(1)})
    run = RunFolder.open(tmp_path)
    assert run.configuration == CONFIGURATION
    assert run.has("shard-0")


def test_says_that_there_is_no_run(tmp_path):
    with pytest.raises(FileError, match="no run in .*: expected a folder with manifest.json"):
        RunFolder.open(tmp_path)
    with pytest.raises(FileError, match="no run in "):
        RunFolder.open(tmp_path / "missing")


def test_equal_shards_are_equal_files_under_adversarial(tmp_path):
    run = start(tmp_path)
    for shard in ("one", "two"):
        run.write(shard, {"x": torch.arange(3), "y": torch.ones(2, 2)})
    one, two = (tmp_path / "adversarial" / f"{shard}.safetensors" for shard in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_says_what_to_do_about_a_missing_or_damaged_shard(tmp_path):
    run = start(tmp_path)
    with pytest.raises(FileError, match="no file .*shard-0.safetensors; delete it and repeat"):
        run.read("shard-0")
    run.write("shard-0", {"x": torch.ones(9)})
    file = tmp_path / "adversarial" / "shard-0.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FileError, match="no readable safetensors file.*; delete it and repeat the"):
        run.read("shard-0")


def test_times_lie_apart(tmp_path):
    run = start(tmp_path)
    run.note_time("shard-0", 1.23456)
    run.note_time("shard-1", 2)
    run.note_time("shard-0", 3)
    timings = json.loads((tmp_path / "timings.json").read_text())
    assert timings == {"shard-0": 3, "shard-1": 2}
    assert run.manifest == json.loads((tmp_path / "manifest.json").read_text())
