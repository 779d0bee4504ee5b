"""Every form of a model's name, and what is said where it leads nowhere."""

import json
import pickle
import sys
from itertools import count

import pytest
import torch

from advdetect import data, storage
from advdetect.errors import AdvDetectWarning, FileError, InputError, ModelError
from advdetect.networks import build, load_model, models_folder
from advdetect.networks.loading import shipped_models

ARCHITECTURE = {
    "kind": "network",
    "name": "resnet",
    "arguments": {"mean": [0.5], "std": [0.25], "classes": 3, "width": 2, "blocks": [1, 1]},
}
IMAGES = torch.linspace(0, 1, 128).view(2, 1, 8, 8)
SOURCE = """
from torch import nn

VERSION = "1.0"
flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Dropout())


def number():
    return 3


def broken():
    raise RuntimeError("a bug of the factory's own")
"""
module_names = (f"factories_{i}" for i in count())


@pytest.fixture
def folder(tmp_path):
    """A model's folder with a card."""
    return write_model(tmp_path / "small")


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """Name of an importable module of factories, fresh for every test."""
    name = next(module_names)
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def write_model(path, **changes):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        module = build(ARCHITECTURE)
    sha256 = storage.save_tensors(path / "weights.safetensors", module.state_dict())
    card = {
        "schema": 1,
        "network": ARCHITECTURE,
        "input": {"shape": [1, 8, 8], "range": [0, 1]},
        "classes": ["ant", "bee", "cat"],
        "sha256": {"weights.safetensors": sha256},
    }
    storage.write_json(path / "card.json", card | changes)
    return path


def message_of(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_folder_with_a_card(folder):
    model = load_model(str(folder))
    assert model.name == str(folder)
    assert model.architecture == ARCHITECTURE
    assert model.shape == (1, 8, 8)
    assert model.classes == ("ant", "bee", "cat")
    assert model.folder == folder
    assert not any(module.training for module in model.module.modules())
    written = storage.load_tensors(folder / "weights.safetensors")
    assert storage.fingerprint(model.module.state_dict()) == storage.fingerprint(written)


def test_a_shipped_model_goes_by_its_folders_name(folder, monkeypatch):
    monkeypatch.setattr("advdetect.networks.loading.models_folder", lambda: folder.parent)
    assert shipped_models() == ["small"]
    model = load_model("small")
    assert (model.name, model.folder) == ("small", folder)


def test_what_is_known_builds_the_module_again(folder):
    model = load_model(str(folder))
    again = build(model.architecture).eval()
    again.load_state_dict(model.module.state_dict())
    assert torch.equal(again(IMAGES), model.module(IMAGES))


def test_a_folder_brings_its_own_weights(folder):
    with pytest.raises(InputError, match="has weights of its own: --weights is for other models"):
        load_model(str(folder), weights=folder / "weights.safetensors")


def test_refuses_weights_of_which_a_byte_was_changed(folder):
    file = folder / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileError, match="weights.safetensors is damaged or was changed: its sha"):
        load_model(str(folder))
    file.unlink()
    with pytest.raises(FileError, match="no file .*weights.safetensors"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"schema": 2}, FileError, "card.json has schema 2, this version reads up to 1"),
        ({"schema": None}, FileError, "card.json has no schema number"),
        ({"sha256": {}}, FileError, r"card.json: KeyError\('weights.safetensors'\)"),
        ({"input": {}}, FileError, "expected network, input, classes and sha256 in .*'shape'"),
        ({"classes": None}, FileError, "card.json: TypeError"),
        ({"network": "resnet"}, FileError, "card.json: ValueError"),
        (
            {"network": ARCHITECTURE | {"name": "lenet"}},
            ModelError,
            "no network named 'lenet', there are: resnet, pooled-resnet, tiny-10, vgg",
        ),
        (
            {"network": ARCHITECTURE | {"kind": "onnx"}},
            ModelError,
            "cannot build a model of kind 'onnx': pass the module itself",
        ),
        (
            {"network": {"kind": "network", "name": "resnet"}},
            ModelError,
            "cannot build the network 'resnet' as described: 'arguments'",
        ),
        (
            {"network": ARCHITECTURE | {"arguments": {"depth": 3}}},
            ModelError,
            "cannot build the network 'resnet' as described: .*'depth'",
        ),
        (
            {"network": ARCHITECTURE | {"arguments": {"mean": [0.5], "std": [0.25]}}},
            ModelError,
            "the weights of .*weights.safetensors do not fit: ",
        ),
    ],
)
def test_says_what_is_wrong_with_a_card(tmp_path, changes, kind, message):
    write_model(tmp_path, **changes)
    with pytest.raises(kind, match=message) as error:
        load_model(str(tmp_path))
    message_of(error)


def test_a_torchvision_model():
    with pytest.warns(AdvDetectWarning, match="squeezenet1_1 has random weights: give trained"):
        model = load_model("torchvision:squeezenet1_1")
    assert model.architecture == {"kind": "torchvision", "name": "squeezenet1_1"}
    assert (model.shape, model.classes, model.folder) == (None, None, None)
    assert not model.module.training
    assert model.module(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_a_torchvision_model_with_weights(tmp_path):
    module = build({"kind": "torchvision", "name": "squeezenet1_1"})
    storage.save_tensors(tmp_path / "w.safetensors", module.state_dict())
    model = load_model("torchvision:squeezenet1_1", weights=tmp_path / "w.safetensors")
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.module(images), module(images))


def test_a_factory(factories):
    model = load_model(f"{factories}:make")
    assert model.architecture == {"kind": "factory", "name": f"{factories}:make"}
    assert not model.module.training
    assert model.module(IMAGES).shape == (2, 3)


def test_a_bug_of_a_factory_keeps_its_traceback(factories):
    with pytest.raises(RuntimeError, match="a bug of the factory's own"):
        load_model(f"{factories}:broken")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_of_a_factory(factories, tmp_path, suffix):
    weights = {"1.weight": torch.eye(64)[:3], "1.bias": torch.tensor([1.0, 2.0, 3.0])}
    file = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        storage.save_tensors(file, weights)
    else:
        torch.save(weights, file)
    model = load_model(f"{factories}:make", weights=file)
    expected = IMAGES.flatten(1)[:, :3] + torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(model.module(IMAGES), expected)


def test_a_checkpoint_that_holds_its_weights_under_state_dict(factories, tmp_path):
    weights = {"1.weight": torch.zeros(3, 64), "1.bias": torch.tensor([1.0, 2.0, 3.0])}
    torch.save({"epoch": 7, "state_dict": weights}, tmp_path / "w.pt")
    model = load_model(f"{factories}:make", weights=tmp_path / "w.pt")
    assert torch.equal(model.module(IMAGES)[0], torch.tensor([1.0, 2.0, 3.0]))


class Malicious:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_pickle_is_refused_and_not_run(factories, tmp_path, save):
    trace = tmp_path / "trace"
    save({"1.weight": torch.zeros(3, 64), "1.bias": Malicious(trace)}, tmp_path / "w.pt")
    with pytest.raises(FileError, match=r"w.pt holds no plain state dict: ") as error:
        load_model(f"{factories}:make", weights=tmp_path / "w.pt")
    message_of(error)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "w.pt holds no state dict of tensors"),
        ({"epoch": 7}, "w.pt holds no state dict of tensors"),
        ([torch.zeros(3)], "w.pt holds no state dict of tensors"),
        ({0: torch.zeros(3)}, "w.pt holds no state dict of tensors"),
    ],
)
def test_refuses_what_is_no_state_dict(factories, tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(FileError, match=message):
        load_model(f"{factories}:make", weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", None, r"^no file .*w.pt$"),
        ("w.safetensors", None, r"^no file .*w.safetensors$"),
        ("w.pt", b"", "w.pt holds no plain state dict: "),
        ("w.pt", b"text, no weights", "w.pt holds no plain state dict: "),
        ("w.safetensors", b"text, no weights", "w.safetensors is no readable safetensors file"),
        ("w.onnx", b"", "expected weights as .safetensors, .pt or .pth, got .*w.onnx"),
    ],
)
def test_says_what_is_wrong_with_a_file_of_weights(factories, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message) as error:
        load_model(f"{factories}:make", weights=tmp_path / name)
    message_of(error)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"1.weight": torch.zeros(4, 64), "1.bias": torch.zeros(4)},
            "size mismatch for 1.weight: copying a param with shape",
        ),
        ({"1.weight": torch.zeros(3, 64)}, r'Missing key\(s\) in state_dict: "1.bias"'),
        (
            {"1.weight": torch.zeros(3, 64), "1.bias": torch.zeros(3), "2.bias": torch.zeros(1)},
            r'Unexpected key\(s\) in state_dict: "2.bias"',
        ),
    ],
)
def test_weights_must_fit_name_by_name_and_shape_by_shape(factories, tmp_path, weights, message):
    file = tmp_path / "w.safetensors"
    storage.save_tensors(file, weights)
    with pytest.raises(ModelError, match=f"the weights of .*w.safetensors do not fit: {message}"):
        load_model(f"{factories}:make", weights=file)


def test_weights_of_a_quite_different_network_are_refused_in_one_short_line(factories, tmp_path):
    weights = {f"layer{i}.weight": torch.zeros(3) for i in range(500)}
    storage.save_tensors(tmp_path / "w.safetensors", weights)
    with pytest.raises(ModelError, match="do not fit: Missing key") as error:
        load_model(f"{factories}:make", weights=tmp_path / "w.safetensors")
    assert len(message_of(error)) < 500


def test_an_unknown_name_lists_what_there_is(folder, monkeypatch):
    monkeypatch.setattr("advdetect.networks.loading.models_folder", lambda: folder.parent)
    with pytest.raises(ModelError, match=r"no model named 'big', shipped are: small; or give a sh"):
        load_model("big")


def test_a_path_without_a_card_is_no_model(tmp_path):
    with pytest.raises(FileError, match=r"has no card.json: expected a shipped model, a model's"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet_18", "torchvision has no classifier named 'resnet_18'"),
        ("no_such_module:make", "cannot import no_such_module:make: No module named"),
        ("torch.nn:NoSuchLayer", "cannot import torch.nn:NoSuchLayer: .*'NoSuchLayer'"),
        (":make", "cannot import :make: Empty module name; expected a shipped model"),
        (".relative:make", "cannot import .relative:make: "),
        ("torch:", "cannot import torch:: "),
        ("torch:__version__", "torch:__version__ is a TorchVersion, expected a function that"),
        ("FACTORIES:VERSION", "VERSION is a str, expected a function that returns a module"),
        ("FACTORIES:flat", "flat is a Sequential, expected a function that returns a module"),
        ("FACTORIES:number", "number returned a int, expected a torch.nn.Module"),
    ],
)
def test_says_what_is_wrong_with_a_name(factories, name, message):
    with pytest.raises(ModelError, match=message) as error:
        load_model(name.replace("FACTORIES", factories))
    message_of(error)


def test_a_model_of_timm_asks_for_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="timm:resnet18 needs the package timm: pip install timm"):
        load_model("timm:resnet18")


def test_the_shipped_model_classifies_pictures_it_has_not_seen():
    model = load_model("fashion-resnet")
    images = data.load("fashion-mnist", split="evaluation", limit=500)
    assert model.shape == images.shape
    with torch.no_grad():
        right = model.module(images.images).argmax(1) == images.labels
    assert right.double().mean() >= 0.9


def test_every_shipped_card_names_its_weights():
    assert "fashion-resnet" in shipped_models()
    for name in shipped_models():
        card = json.loads((models_folder() / name / "card.json").read_text())
        assert card["name"] == name
        logits = load_model(name).module(torch.zeros(1, *card["input"]["shape"]))
        assert logits.shape == (1, len(card["classes"]))
