"""Files that are safe to read from a stranger: safetensors and JSON, with sha256.

Nothing here, or anywhere in the package, unpickles.
"""

import hashlib
import json
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from advdetect.errors import FileError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors by name and return the file's sha256; equal tensors give equal bytes."""
    # safetensors refuses tensors that share memory, such as tied weights: each gets its own.
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    content = save(own)
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def load_tensors(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read what ``save_tensors`` wrote.

    Raises:
        FileError: the file is missing, no safetensors, or differs from its ``sha256``.
    """
    content = read_bytes(path, sha256=sha256)
    try:
        return load(content)
    except SafetensorError as error:
        raise FileError(f"{path} is no readable safetensors file: {error}") from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON that people can read; equal content gives equal bytes. NaN is refused."""
    text = json.dumps(content, indent=1, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(
    path: Path, *, schema: int | None = None, keys: Mapping[str, type] | None = None
) -> Any:
    """Read JSON.

    Args:
        path: The file.
        schema: The newest ``"schema"`` that the caller understands.
        keys: What an object must hold, and of which type.

    Raises:
        FileError: the file is missing, no JSON, of a newer schema, or lacks a key.
    """
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise FileError(f"{path} is no readable JSON file: {error}") from None
    if schema is not None:
        found = content.get("schema") if isinstance(content, dict) else None
        if not isinstance(found, int):
            raise FileError(f"{path} has no schema number: it was not written by advdetect")
        if found > schema:
            raise FileError(
                f"{path} has schema {found}, this version reads up to {schema}: update advdetect"
            )
    for key, kind in (keys or {}).items():
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, kind):
            raise FileError(
                f"{path} is damaged or was changed: expected {key!r} as {kind.__name__}, "
                f"got {reprlib.repr(value)}"
            )
    return content


def read_bytes(path: Path, *, sha256: str | None = None) -> bytes:
    """Read a file and hold it against its ``sha256``, if given."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"no file {path}") from None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise FileError(f"{path} is damaged or was changed: its sha256 is not the recorded one")
    return content


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, types, shapes and values, whatever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # A view as bytes also reads types that NumPy lacks, such as bfloat16.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
