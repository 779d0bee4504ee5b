"""Training as a whole: what lies in a folder, what goes on, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from advdetect import data, storage
from advdetect.ensembles import TrainingConfig
from advdetect.errors import FileError, InputError
from advdetect.metrics import wilson
from advdetect.networks import Ensemble, load_model
from advdetect.workflows.training import read_embedding, train_model

TINY = {"width": 2, "blocks": [1]}
CONFIG = TrainingConfig(
    arguments=TINY, members=2, penalty="partial-dcor", epochs=2, batch=50, shift=1, mirror=False
)
COMMAND = "advdetect train --out pair"


@pytest.fixture(scope="module")
def images():
    return data.load("digits", split="reference").subset(range(200))


@pytest.fixture(scope="module")
def test():
    return data.load("digits", split="evaluation").subset(range(120))


@pytest.fixture(scope="module")
def trained(images, test, tmp_path_factory):
    """A finished training of two members, and what it returned."""
    folder = tmp_path_factory.mktemp("trained") / "pair"
    return folder, train_model(CONFIG, images, test, folder, command=COMMAND)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def stop_at(epoch, step):
    def watch(seen):
        if (seen.epoch, seen.step) == (epoch, step):
            raise KeyboardInterrupt

    return watch


def test_a_folder_holds_a_model_and_how_it_came_about(trained, images):
    folder, _ = trained
    assert {path.name for path in folder.iterdir()} == {
        *("card.json", "history.jsonl", "training.json", "tensorboard"),
        *("member-0.safetensors", "member-1.safetensors"),
    }
    card = storage.read_json(folder / "card.json")
    assert card["name"] == "pair"
    assert card["command"] == COMMAND
    assert card["seed"] == 0
    assert card["data"] == "digits, reference split"
    assert card["classes"] == [str(digit) for digit in range(10)]
    assert card["input"] == {"shape": [1, 8, 8], "range": [0, 1]}
    assert TrainingConfig.of(card["recipe"], "card") == CONFIG
    told = card["network"]["members"][0]["arguments"]
    assert told["mean"] == [pytest.approx(images.images.mean().item(), abs=1e-4)]
    assert told["std"] == [pytest.approx(images.images.std().item(), abs=1e-4)]
    assert (told["classes"], told["width"], told["blocks"]) == (10, 2, [1])
    assert card["versions"]["processes"] == 1
    about = storage.read_json(folder / "training.json")
    assert about["config"] == card["recipe"]
    assert about["images"] == images.fingerprint


def test_a_trained_model_answers_as_its_card_says(trained, test):
    folder, summary = trained
    model = load_model(str(folder))
    assert isinstance(model.module, Ensemble)
    with torch.no_grad():
        members = [member(test.images) for member in model.module.members]
        together = model.module(test.images)
    averaged = sum(logits.softmax(1) for logits in members) / 2
    torch.testing.assert_close(together.exp(), averaged)
    right = [int((x.argmax(1) == test.labels).sum()) for x in (together, *members)]
    expected = [wilson(count, 120) for count in right]
    assert [summary.accuracy, *summary.members] == expected
    card = storage.read_json(folder / "card.json")
    assert card["test_accuracy"]["value"] == right[0] / 120
    assert [one["value"] for one in card["member_test_accuracy"]] == [n / 120 for n in right[1:]]


def test_history_has_a_line_an_epoch_of_means(images, test, tmp_path):
    seen = []
    summary = train_model(CONFIG, images, test, tmp_path, command="", watch=seen.append)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert tuple(lines) == summary.history
    assert [set(line) for line in lines] == 2 * [{"epoch", "loss", "accuracy", "penalty"}]
    for line in lines:
        steps = [step for step in seen if step.epoch == line["epoch"]]
        assert len(steps) == 4
        for name in ("losses", "accuracies", "penalties"):
            key = {"losses": "loss", "accuracies": "accuracy", "penalties": "penalty"}[name]
            expected = np.mean([getattr(step, name) for step in steps], 0)
            assert line[key] == pytest.approx(list(expected))


def test_curves_are_written_for_tensorboard(trained):
    folder, summary = trained
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    curves = loading.EventAccumulator(str(folder / "tensorboard"))
    curves.Reload()
    expected = {f"{name}/member-{i}" for name in ("loss", "accuracy", "penalty") for i in (0, 1)}
    assert set(curves.Tags()["scalars"]) == expected
    # Epochs of fewer than 20 steps are written at their end.
    assert [point.step for point in curves.Scalars("loss/member-1")] == [4, 8]


def test_no_curves_where_none_are_asked_for(images, test, tmp_path):
    train_model(CONFIG, images, test, tmp_path, command="", tensorboard=False)
    assert not (tmp_path / "tensorboard").exists()


def test_no_curves_where_there_is_no_tensorboard(images, test, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train_model(CONFIG, images, test, tmp_path, command="")
    assert not (tmp_path / "tensorboard").exists()


def test_one_network_is_a_folder_like_any_other(images, test, tmp_path):
    config = TrainingConfig(arguments=TINY, epochs=1, batch=50)
    summary = train_model(config, images, test, tmp_path / "one", command="")
    assert summary.members == ()
    assert summary.history[0]["penalty"] == []
    model = load_model(str(tmp_path / "one"))
    assert model.architecture["kind"] == "network"
    assert "member_test_accuracy" not in storage.read_json(tmp_path / "one" / "card.json")
    with torch.no_grad():
        right = (model.module(test.images).argmax(1) == test.labels).sum()
    assert summary.accuracy == wilson(int(right), 120)


def test_the_same_again_trains_nothing(trained, images, test):
    folder, summary = trained
    before = contents(folder)
    again = train_model(CONFIG, images, test, folder, command="another", watch=stop_at(1, 1))
    assert again == summary
    assert contents(folder) == before


@pytest.mark.parametrize(("epoch", "step"), [(1, 2), (2, 1), (2, 4)])
def test_an_interrupted_training_goes_on(trained, images, test, tmp_path, epoch, step):
    folder = tmp_path / "pair"
    with pytest.raises(KeyboardInterrupt):
        train_model(CONFIG, images, test, folder, command=COMMAND, watch=stop_at(epoch, step))
    assert (folder / "checkpoint.safetensors").exists() == (epoch == 2)
    assert not (folder / "card.json").exists()
    summary = train_model(CONFIG, images, test, folder, command=COMMAND)
    assert contents(folder) == contents(trained[0])
    assert summary.history == trained[1].history


def test_training_leaves_the_global_generator_alone(images, test, tmp_path):
    before = torch.get_rng_state()
    train_model(CONFIG, images, test, tmp_path, command="", tensorboard=False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"epochs": 3}, "epochs"),
        ({"seed": 1, "weight": 2.0}, "weight, seed"),
        ({"arguments": {"width": 3}}, "arguments"),
    ],
)
def test_other_options_are_refused_by_name(trained, images, test, changes, names):
    message = f"holds a training with other {names}: give another --out, or the same options"
    with pytest.raises(InputError, match=message):
        train_model(replace(CONFIG, **changes), images, test, trained[0], command="")


def test_other_images_are_refused_by_name(trained, images, test):
    with pytest.raises(InputError, match="holds a training with other images: give"):
        train_model(CONFIG, images.subset(range(100)), test, trained[0], command="")
    with pytest.raises(InputError, match="holds a training with other split, images: give"):
        train_model(CONFIG, test, test, trained[0], command="")
    embedding = torch.eye(10)
    with pytest.raises(InputError, match="holds a training with other embedding: give"):
        train_model(CONFIG, images, test, trained[0], command="", embedding=embedding)


def test_a_folder_with_something_else_is_left_alone(small_model, images, test, tmp_path):
    before = contents(small_model)
    message = "holds a model that was not trained here: give another --out"
    with pytest.raises(InputError, match=message):
        train_model(CONFIG, images, test, small_model, command="")
    assert contents(small_model) == before
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FileError, match="file is a file: --out expects a folder"):
        train_model(CONFIG, images, test, file, command="")


def test_test_images_have_the_shape_of_the_others(images, test, tmp_path):
    wide = data.load("digits", split="evaluation", limit=5, resize=(10, 12))
    message = r"expected images of shape \(1, 8, 8\) \(channels, height, width\), got \(1, 10, 12\)"
    with pytest.raises(InputError, match=message):
        train_model(CONFIG, images, wide, tmp_path / "x", command="")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("shape", [(9, 3), (10,)])
def test_an_embedding_has_a_row_for_each_class(images, test, tmp_path, shape):
    message = r"expected an embedding of shape \(10, r\), a row for each class, got \(\d+,"
    with pytest.raises(InputError, match=message):
        train_model(CONFIG, images, test, tmp_path, command="", embedding=torch.zeros(shape))


def test_a_given_model_takes_the_same_images(small_model, test, tmp_path):
    wide = data.load("digits", split="evaluation", limit=60, resize=(10, 12))
    config = TrainingConfig(arguments=TINY, given=str(small_model), epochs=1, batch=30)
    message = r"the given model .* takes images of shape \(1, 8, 8\), digits has \(1, 10, 12\)"
    with pytest.raises(InputError, match=message):
        train_model(config, wide, wide, tmp_path / "x", command="")
    train_model(config, test, test, tmp_path / "y", command="")
    history = json.loads((tmp_path / "y" / "history.jsonl").read_text())
    assert len(history["penalty"]) == 1


def test_a_given_model_that_was_trained_anew_is_another(small_model, test, tmp_path):
    first = shutil.copytree(small_model, tmp_path / "first")
    config = TrainingConfig(arguments=TINY, given=str(first), epochs=1, batch=30)
    done = train_model(config, test, test, tmp_path / "second", command="")
    assert train_model(config, test, test, tmp_path / "second", command="") == done
    weights = {k: 2 * v for k, v in storage.load_tensors(first / "weights.safetensors").items()}
    sha256 = storage.save_tensors(first / "weights.safetensors", weights)
    card = storage.read_json(first / "card.json") | {"sha256": {"weights.safetensors": sha256}}
    storage.write_json(first / "card.json", card)
    with pytest.raises(InputError, match="a training with other weights of the given model: give"):
        train_model(config, test, test, tmp_path / "second", command="")


def test_training_goes_on_from_a_start(small_model, test, tmp_path):
    alone = TrainingConfig(arguments=TINY, epochs=1, batch=30, shift=0, mirror=False)
    still = replace(alone, arguments={}, start=(str(small_model),), learning_rate=0.0)
    train_model(still, test, test, tmp_path / "still", command="")
    models = [load_model(str(folder)) for folder in (small_model, tmp_path / "still")]
    assert models[0].architecture == models[1].architecture
    parameters = [list(model.module.parameters()) for model in models]
    assert all(torch.equal(a, b) for a, b in zip(*parameters, strict=True))
    done = train_model(replace(still, learning_rate=0.01), test, test, tmp_path / "on", command="")
    fresh = train_model(replace(alone, learning_rate=0.01), test, test, tmp_path / "x", command="")
    assert done.history[0]["loss"][0] < fresh.history[0]["loss"][0] / 2


def test_every_member_goes_on_from_its_own_start(images, test, tmp_path):
    train_model(replace(CONFIG, epochs=1), images, test, tmp_path / "first", command="")
    start = (str(tmp_path / "first"),)
    on = TrainingConfig(start=start, members=CONFIG.members, batch=30, epochs=1, learning_rate=0.0)
    train_model(on, images, test, tmp_path / "second", command="")
    for name in sorted(path.name for path in (tmp_path / "first").glob("member-*")):
        before, after = (storage.load_tensors(tmp_path / one / name) for one in ("first", "second"))
        kept = [key for key in before if key.endswith("weight") and "bn" not in key]
        assert kept
        assert all(torch.equal(before[key], after[key]) for key in kept)


@pytest.mark.parametrize("members", [1, 2])
def test_several_starts_give_the_mean_of_their_weights(images, test, tmp_path, members):
    first = replace(CONFIG, members=members, epochs=1, penalty=None)
    folders = [tmp_path / str(seed) for seed in range(3)]
    for seed, folder in enumerate(folders):
        train_model(replace(first, seed=seed), images, test, folder, command="")
    start = tuple(map(str, folders))
    mean = TrainingConfig(start=start, members=members, epochs=0)
    done = train_model(mean, images, test, tmp_path / "mean", command="")
    assert done.history == ()
    assert train_model(mean, images, test, tmp_path / "mean", command="") == done
    found, *states = (
        load_model(str(folder)).module.state_dict() for folder in (tmp_path / "mean", *folders)
    )
    for key, value in found.items():
        expected = states[0][key]
        if value.is_floating_point():
            expected = (states[0][key] + states[1][key] + states[2][key]) / 3
        torch.testing.assert_close(value, expected)
    card = storage.read_json(tmp_path / "mean" / "card.json")
    assert card["recipe"]["start"] == list(start)
    assert len(card.get("member_test_accuracy", [])) == (members if members > 1 else 0)


def test_starts_that_are_different_networks_have_no_mean(small_model, test, tmp_path):
    other = TrainingConfig(network="vgg", arguments={"width": 2}, epochs=1, batch=30)
    train_model(other, test, test, tmp_path / "vgg", command="")
    config = TrainingConfig(start=(str(small_model), str(tmp_path / "vgg")), epochs=0)
    message = "^the starts .*small and .*vgg are different networks: weights of one kind of network"
    with pytest.raises(InputError, match=message):
        train_model(config, test, test, tmp_path / "x", command="")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"members": 2}, "has 1 members, not 2"),
        ({"network": "vgg"}, "has another network: leave network and arguments out"),
        ({"arguments": {"width": 99}}, "has another width: leave network and arguments out"),
    ],
)
def test_a_start_says_the_network_itself(small_model, test, tmp_path, told, message):
    config = TrainingConfig(start=(str(small_model),), epochs=1, batch=30, **told)
    with pytest.raises(InputError, match=message):
        train_model(config, test, test, tmp_path / "x", command="")
    assert not (tmp_path / "x").exists()


def test_a_start_takes_the_same_images(small_model, test, tmp_path):
    config = TrainingConfig(start=(str(small_model),), epochs=1, batch=30)
    wide = data.load("digits", split="evaluation", limit=60, resize=(10, 12))
    with pytest.raises(InputError, match=r"the start .* takes images of shape \(1, 8, 8\), digits"):
        train_model(config, wide, wide, tmp_path / "x", command="")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", ["start", "network"])
def test_a_network_that_knows_too_few_classes_is_named(small_model, test, tmp_path, kind):
    plain = {"network": "tests.ensembles.tiny_networks:plain"}
    begun = {"start": (str(small_model),)} if kind == "start" else plain
    config = TrainingConfig(**begun, epochs=1, batch=30)
    more = replace(test, classes=(*test.classes, "ten"))
    with pytest.raises(InputError, match="^.*(small|plain) knows 10 classes, digits has 11$"):
        train_model(config, more, more, tmp_path / "x", command="")
    assert not (tmp_path / "x").exists()


def test_pictures_too_small_for_a_network_are_named(test, tmp_path):
    message = r"^tiny-10 cannot take images of shape \(1, 8, 8\): .*greater than actual input size"
    with pytest.raises(InputError, match=message):
        train_model(TrainingConfig(network="tiny-10"), test, test, tmp_path / "x", command="")
    assert not (tmp_path / "x").exists()


def test_an_embedding_is_read_as_it_was_written(tmp_path):
    rows = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "rows.npy", rows)
    assert torch.equal(read_embedding(tmp_path / "rows.npy"), torch.from_numpy(rows).float())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^no file .*rows.npy$"),
        (b"text", "rows.npy is no .npy file of numbers: "),
        (b"", "rows.npy is no .npy file of numbers: "),
        (np.array(["a"]), "rows.npy is no .npy file of numbers: "),
        (np.array([object()]), "rows.npy is no .npy file of numbers: "),
        (np.array([[1.0, np.nan]]), "rows.npy holds NaN or infinity"),
    ],
)
def test_says_what_is_wrong_with_an_embedding(tmp_path, content, message):
    file = tmp_path / "rows.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content)
    with pytest.raises(FileError, match=message):
        read_embedding(file)


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on(tmp_path):
    # Relative, since the command stands on the card.
    options = "--data digits --split reference --limit 200 --members 2 --penalty dcor --epochs 4"
    extra = "--batch 50 --network tests.ensembles.tiny_networks:Slow --out pair"
    command = [sys.executable, "-m", "advdetect", "train", *options.split(), *extra.split()]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OMP_NUM_THREADS": "1",
    }
    found = []
    for name in ("calm", "killed"):
        where = tmp_path / name
        where.mkdir()
        if name == "killed":
            first = subprocess.Popen(command, cwd=where, env=environment)
            try:
                until = time.monotonic() + 60
                checkpoint = where / "pair" / "checkpoint.safetensors"
                while not checkpoint.exists() and time.monotonic() < until:
                    time.sleep(0.001)
                time.sleep(0.1)  # in the middle of an epoch, which takes 0.16 s at least
            finally:
                first.send_signal(signal.SIGKILL)
                first.wait()
            assert checkpoint.exists()
            assert not (where / "pair" / "card.json").exists()
        subprocess.run(command, cwd=where, env=environment, check=True, timeout=120)
        found.append(contents(where / "pair"))
    for file in ("member-0.safetensors", "member-1.safetensors", "history.jsonl", "card.json"):
        assert found[0][file] == found[1][file]
    assert set(found[0]) == set(found[1])


@pytest.mark.slow
def test_processes_share_batches_and_one_speaks_for_all(tmp_path):
    options = "--data digits --split reference --limit 160 --members 2 --penalty partial-dcor"
    extra = "--epochs 2 --batch 40 --network tests.ensembles.tiny_networks:plain --out"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    saved = []
    for count in (1, 2):
        out = tmp_path / str(count)
        command = [*launch, str(count), "-m", "advdetect", "train", *options.split()]
        done = subprocess.run(
            [*command, *extra.split(), out],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("model in ") == 1
        assert done.stderr.count("epoch 2/2: loss") == 1
        assert "Warning" not in done.stderr
        assert storage.read_json(out / "card.json")["versions"]["processes"] == count
        saved.append(load_model(str(out)).module.state_dict())
    for name, expected in saved[0].items():
        torch.testing.assert_close(saved[1][name], expected, rtol=0, atol=1e-5)


def test_an_embedding_is_refused_where_nothing_looks_at_labels(images, test, tmp_path):
    config = replace(CONFIG, penalty="dcor")
    with pytest.raises(InputError, match="means nothing here: only partial-dcor, semi-partial-"):
        train_model(config, images, test, tmp_path, command="", embedding=torch.eye(10))
