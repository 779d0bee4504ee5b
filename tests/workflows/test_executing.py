"""The same run, byte by byte: whoever computes it, whatever is killed on the way."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from advdetect.attacks import SUITES, Budget
from advdetect.errors import FileError, InputError, ModelError
from advdetect.networks import LoadedModel
from advdetect.workflows import attacking, attacking_worker
from advdetect.workflows.attacking import attack_data, summarise

OPTIONS = {"suite": "quick", "seed": 3, "chunk": 20}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """One thread, so that a machine of two cores has room for two workers of a cluster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_child_left():
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture(scope="module")
def some(digits):
    return digits["reference"].subset(range(50))


@pytest.fixture(scope="module")
def expected(small, some, tmp_path_factory):
    """The files of an undisturbed run in one process."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    summarise(*attack_data(small, some, folder, **OPTIONS), some)
    found = contents(folder)
    assert len(found) == 4 * 3 + 2  # four attacks on three chunks, the manifest and the records
    return found


def contents(folder):
    """The bytes of every file, except the times that they took."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "timings.json"
    }


class KilledOnce(nn.Module):
    """The small model; another process than this one is killed when it first takes gradients."""

    def __init__(self, module, note):
        super().__init__()
        self.module = module
        self.note = str(note)
        self.parent = os.getpid()

    def forward(self, images):
        if images.requires_grad and os.getpid() != self.parent and not Path(self.note).exists():
            Path(self.note).write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.module(images)

    def state_dict(self, *args, **options):
        return self.module.state_dict(*args, **options)


@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_a_worker_killed_in_the_middle_changes_no_byte(
    small, some, expected, tmp_path, kind, request
):
    if kind == "ray":
        request.getfixturevalue("ray")
    model = LoadedModel(small.name, KilledOnce(small.module, tmp_path / "killed"), {})
    ray = "local" if kind == "ray" else None
    run, attacked = attack_data(model, some, tmp_path / "run", **OPTIONS, workers=2, ray=ray)
    assert (tmp_path / "killed").exists()
    summarise(run, attacked, some)
    assert contents(run.path) == expected
    assert sorted(json.loads((run.path / "timings.json").read_text())) == sorted(
        Path(name).stem for name in expected if name.startswith("adversarial")
    )


@pytest.mark.slow
def test_a_run_begun_by_one_process_is_ended_by_two(small, some, expected, tmp_path):
    class StopError(Exception):
        pass

    def stop_after_five(items, description):
        yield from items[:5]
        raise StopError

    with pytest.raises(StopError):
        attack_data(small, some, tmp_path, **OPTIONS, track=stop_after_five)
    kept = contents(tmp_path)
    assert len(kept) == 5 + 1
    summarise(*attack_data(small, some, tmp_path, **OPTIONS, workers=2), some)
    assert contents(tmp_path) == expected


SCRIPT = """
import sys
from pathlib import Path
import torch
from advdetect import data
from advdetect.networks import load_model
from advdetect.workflows.attacking import attack_data, summarise

if __name__ == "__main__":
    torch.set_num_threads(1)
    images = data.load("digits", split="reference").subset(range(50))
    options = {"suite": "quick", "seed": 3, "chunk": 20, "workers": int(sys.argv[3])}
    summarise(*attack_data(load_model(sys.argv[1]), images, Path(sys.argv[2]), **options), images)
"""


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_command_that_is_killed_goes_on(small_model, expected, tmp_path, workers):
    script, folder = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT)
    command = [sys.executable, script, small_model, folder, str(workers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen(command, env=environment)
    try:
        until = time.monotonic() + 60
        while not (folder / "adversarial").exists() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.3))
    finally:
        first.kill()
        first.wait()
    assert (folder / "manifest.json").exists()
    subprocess.run(command, env=environment, check=True, timeout=120)
    found = contents(folder)
    assert {name for name in found if ".part" in name} == set()
    assert found == expected


def test_shards_that_were_written_halfway_are_tidied_away(small, some, expected, tmp_path):
    summarise(*attack_data(small, some, tmp_path, **OPTIONS), some)
    shard = sorted((tmp_path / "adversarial").iterdir())[0]
    shard.rename(shard.with_name(f".{shard.name}.77.part"))
    summarise(*attack_data(small, some, tmp_path, **OPTIONS), some)
    assert contents(tmp_path) == expected


def failing(state, task):
    if task.first == 20 and task.budget.attack == "linf_pgd":
        raise RuntimeError("the accelerator went away\nfor good")
    return attacking_worker.attack_shard(state, task)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_shard_that_fails_is_reported_and_the_rest_is_kept(
    small, some, expected, tmp_path, monkeypatch, workers
):
    with monkeypatch.context() as patch:
        patch.setattr(attacking, "attack_shard", failing)
        with pytest.raises(FileError) as error:
            attack_data(small, some, tmp_path / "run", **OPTIONS, workers=workers)
    text = str(error.value)
    assert text.startswith(
        "1 of 12 shards failed, three times each: linf_pgd-8_255-000020 "
        "(RuntimeError: the accelerator went away); all else is kept"
    )
    assert text.endswith("failures.txt says more: repeat the same command to try these again")
    assert "\n" not in text
    details = (tmp_path / "run" / "failures.txt").read_text()
    assert "in failing\n" in details
    missing = set(expected) - set(contents(tmp_path / "run"))
    assert missing == {"adversarial/linf_pgd-8_255-000020.safetensors", "records.parquet"}
    summarise(*attack_data(small, some, tmp_path / "run", **OPTIONS, workers=workers), some)
    assert contents(tmp_path / "run") == expected


class NoGradients(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        return self.module(images.detach())


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_model_without_gradients_is_told_at_once(small, some, tmp_path, workers):
    model = LoadedModel("net", NoGradients(small.module), {})
    with pytest.raises(ModelError, match="passes no gradient back to its images"):
        attack_data(model, some, tmp_path / "run", **OPTIONS, workers=workers)
    assert not (tmp_path / "run" / "failures.txt").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_advances_once_a_shard_and_begins_with_one_of_each_attack(
    small, some, tmp_path, workers
):
    seen = []

    def track(items, description):
        assert description == "attacking"
        for item in items:
            yield item
            seen.append((item.name, len(list((tmp_path / "adversarial").glob("*.safetensors")))))

    attack_data(small, some, tmp_path, **OPTIONS, workers=workers, track=track)
    assert [done for _, done in seen] == list(range(1, 13))
    assert {name.rpartition("-")[0] for name, _ in seen[:4]} == {
        attacking.shard_name(budget, 0).rpartition("-")[0] for budget in SUITES["quick"]
    }
    seen.clear()
    attack_data(small, some, tmp_path, **OPTIONS, workers=workers, track=track)
    assert seen == []  # nothing is left to do


@pytest.mark.parametrize(("chunk", "threads"), [(7, 1), (20, 2)])
def test_other_chunks_and_threads_agree_up_to_rounding(
    small, some, tmp_path, monkeypatch, chunk, threads
):
    # Attacks that draw nothing at random: draws are others for other chunks.
    budgets = (Budget("linf_fgsm", 0.05), Budget("l2_deepfool"))
    monkeypatch.setattr(attacking, "choose_budgets", lambda *_, **__: budgets[: 3 - threads])
    _, first = attack_data(small, some, tmp_path / "one", **OPTIONS)
    torch.set_num_threads(threads)
    try:
        _, second = attack_data(small, some, tmp_path / "two", **{**OPTIONS, "chunk": chunk})
    finally:
        torch.set_num_threads(1)
    for a, b in zip(first.results, second.results, strict=True):
        for name in ("index", "source", "labels", "clean_prediction", "prediction", "success"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        torch.testing.assert_close(a.adversarial, b.adversarial, rtol=0, atol=1e-4)
        torch.testing.assert_close(a.distances, b.distances, rtol=1e-4, atol=1e-5)


def test_a_run_keeps_to_its_chunks_and_threads(small, some, tmp_path):
    run, _ = attack_data(small, some, tmp_path, **OPTIONS)
    assert run.configuration["chunk"] == 20
    assert run.manifest["threads"] == 1
    assert not {"workers", "ray"} & {*run.manifest, *run.configuration}
    with pytest.raises(FileError, match=r"holds another run \(its chunk is 20, not 100\)"):
        attack_data(small, some, tmp_path, suite="quick", seed=3)
    torch.set_num_threads(2)
    with pytest.raises(FileError, match=r"holds another run \(its threads is 1, not 2\)"):
        attack_data(small, some, tmp_path, **OPTIONS)
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "expected at least 1 worker, got 0"),
        ({"chunk": 0}, "expected at least 1 image a chunk, got 0"),
    ],
)
def test_a_mistake_leaves_no_folder(small, some, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        attack_data(small, some, tmp_path / "run", **{**OPTIONS, **options})
    assert not (tmp_path / "run").exists()


class Unpicklable(nn.Module):
    """What cannot be pickled, but can be made again from where it came from."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.hook = lambda images: images.flatten(1)

    def forward(self, images):
        return self.linear(self.hook(images))


def test_a_module_that_cannot_be_pickled_is_made_again_by_name(some, tmp_path):
    name = "tests.workflows.test_executing:Unpicklable"
    torch.manual_seed(0)
    model = LoadedModel(name, Unpicklable().eval(), {"kind": "factory", "name": name})
    _, first = attack_data(model, some, tmp_path / "one", **OPTIONS)
    _, second = attack_data(model, some, tmp_path / "two", **OPTIONS, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    nameless = LoadedModel(name, model.module, {})
    with pytest.raises(InputError, match="cannot be sent to other processes .*use one worker, or"):
        attack_data(nameless, some, tmp_path / "three", **OPTIONS, workers=2)
