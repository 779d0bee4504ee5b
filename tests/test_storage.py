"""Files come back as they were written, or are refused in one line."""

import hashlib
import json
import math

import pytest
import torch

from advdetect import storage
from advdetect.errors import FileError

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int64,
    torch.bool,
]


def tensors():
    return {
        "weights": torch.linspace(-1, 1, 12).view(3, 4),
        "count": torch.tensor(7),
        "none": torch.empty(0, 3),
    }


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_come_back_in_their_type(tmp_path, dtype):
    written = {"x": torch.tensor([[0, 1], [1, 0]]).to(dtype)}
    sha256 = storage.save_tensors(tmp_path / "x.safetensors", written)
    read = storage.load_tensors(tmp_path / "x.safetensors", sha256=sha256)
    assert list(read) == ["x"]
    assert read["x"].dtype == dtype
    assert torch.equal(read["x"], written["x"])


def test_tensors_come_back_in_their_shape_and_can_be_written_to(tmp_path):
    storage.save_tensors(tmp_path / "x.safetensors", tensors())
    read = storage.load_tensors(tmp_path / "x.safetensors")
    assert {name: tensor.shape for name, tensor in read.items()} == {
        "weights": (3, 4),
        "count": (),
        "none": (0, 3),
    }
    read["weights"] += 1  # memory of its own, not the file's


def test_views_gradients_and_one_tensor_under_two_names(tmp_path):
    weights = torch.arange(6.0).view(2, 3).requires_grad_()
    written = {"across": weights.T, "row": weights[0], "again": weights, "same": weights}
    storage.save_tensors(tmp_path / "x.safetensors", written)
    read = storage.load_tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(read[name], written[name]) for name in written)
    assert not any(tensor.requires_grad for tensor in read.values())


def test_equal_tensors_give_equal_bytes_in_any_order(tmp_path):
    names = list(tensors())
    first = storage.save_tensors(tmp_path / "first", tensors())
    turned = {name: tensors()[name].clone() for name in reversed(names)}
    assert storage.save_tensors(tmp_path / "second", turned) == first
    content = (tmp_path / "first").read_bytes()
    assert (tmp_path / "second").read_bytes() == content
    assert first == hashlib.sha256(content).hexdigest()


def test_refuses_a_changed_byte(tmp_path):
    path = tmp_path / "x.safetensors"
    sha256 = storage.save_tensors(path, tensors())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert set(storage.load_tensors(path)) == set(tensors())  # well-formed all the same
    with pytest.raises(FileError, match=r"x.safetensors is damaged or was changed: its sha256"):
        storage.load_tensors(path, sha256=sha256)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-1], id="truncated"),
        pytest.param(lambda content: content[:20], id="truncated in its header"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"These are no tensors at all.\n" * 9, id="text"),
        pytest.param(lambda content: b"\x80\x04\x95" + content, id="pickle"),
    ],
)
def test_refuses_what_is_no_safetensors_file(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    storage.save_tensors(path, tensors())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=r"x.safetensors is no readable safetensors file: ") as info:
        storage.load_tensors(path)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("read", [storage.load_tensors, storage.read_json, storage.read_bytes])
def test_says_that_there_is_no_file(tmp_path, read):
    with pytest.raises(FileError, match=r"^no file .*/missing$"):
        read(tmp_path / "missing")
    with pytest.raises(FileError, match=r"^cannot read .*: Is a directory$"):
        read(tmp_path)


def test_json_comes_back_and_ends_with_a_line_end(tmp_path):
    content = {"schema": 1, "name": "café", "values": [0.1, None, True]}
    path = tmp_path / "deep" / "folder" / "x.json"
    storage.write_json(path, content)
    assert storage.read_json(path, schema=1) == content
    assert path.read_text().endswith("]\n}\n")
    first = path.read_bytes()
    storage.write_json(path, content)
    assert path.read_bytes() == first


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_json_has_no_word_for(tmp_path, value):
    with pytest.raises(ValueError, match="Out of range float values"):
        storage.write_json(tmp_path / "x.json", {"deep": [value]})
    assert files(tmp_path) == []


@pytest.mark.parametrize("text", ['{"schema": 1', "", "schema: 1", "\xff\xfe"])
def test_refuses_what_is_no_json(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileError, match=r"x.json is no readable JSON file: "):
        storage.read_json(tmp_path / "x.json")


def test_reads_schemas_up_to_its_own(tmp_path):
    path = tmp_path / "x.json"
    storage.write_json(path, {"schema": 2})
    assert storage.read_json(path) == storage.read_json(path, schema=2) == {"schema": 2}
    assert storage.read_json(path, schema=3) == {"schema": 2}
    with pytest.raises(FileError, match="has schema 2, this version reads up to 1: update adv"):
        storage.read_json(path, schema=1)


@pytest.mark.parametrize("content", [{}, {"schema": "1"}, {"schema": None}, [1], "schema", 1])
def test_refuses_json_of_another_origin(tmp_path, content):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match="has no schema number: it was not written by advdetect"):
        storage.read_json(tmp_path / "x.json", schema=1)


@pytest.mark.parametrize("content", [{}, {"name": None}, {"name": 1}, ["name"], "name"])
def test_refuses_json_without_what_it_must_hold(tmp_path, content):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match="is damaged or was changed: expected 'name' as str, got"):
        storage.read_json(tmp_path / "x.json", keys={"name": str})


def test_a_file_is_replaced_whole_and_leaves_no_part(tmp_path):
    storage.write_bytes(tmp_path / "x", b"a long first content")
    storage.write_bytes(tmp_path / "x", b"short")
    assert (tmp_path / "x").read_bytes() == b"short"
    assert files(tmp_path) == ["x"]


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    storage.write_bytes(tmp_path / "x", b"old")

    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        storage.write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert files(tmp_path) == ["x"]


def test_a_fingerprint_is_of_content_alone(tmp_path):
    found = storage.fingerprint(tensors())
    assert storage.fingerprint(dict(reversed(tensors().items()))) == found
    strided = tensors() | {"weights": tensors()["weights"].T.contiguous().T.requires_grad_()}
    assert storage.fingerprint(strided) == found
    storage.save_tensors(tmp_path / "x", tensors())
    assert storage.fingerprint(storage.load_tensors(tmp_path / "x")) == found


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fingerprint_sees_name_type_shape_and_value(dtype):
    one = torch.tensor([[0, 1, 0], [1, 0, 0]]).to(dtype)
    other_type = torch.int32 if dtype != torch.int32 else torch.int16
    flipped = one.clone()
    flipped[1, 2] = 1
    variants = [
        {"x": one},
        {"y": one},
        {"x": one.to(other_type)},
        {"x": one.view(3, 2)},
        {"x": one.view(6)},
        {"x": flipped},
        {"x": one, "y": one},
        {},
    ]
    assert len({storage.fingerprint(variant) for variant in variants}) == len(variants)


def test_a_fingerprint_tells_types_of_equal_bytes_apart():
    zeros = torch.zeros(4, dtype=torch.bfloat16)
    assert storage.fingerprint({"x": zeros}) != storage.fingerprint({"x": zeros.half()})
    assert storage.fingerprint({"x": torch.zeros(())}) != storage.fingerprint({"x": torch.zeros(1)})
