"""From a model's name to a module: shipped, a folder, torchvision, timm, or anyone's factory."""

import importlib
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advdetect import storage, vision
from advdetect.errors import AdvDetectWarning, FileError, InputError, ModelError
from advdetect.networks.ensemble import Ensemble
from advdetect.networks.tables import NETWORKS

CARD_SCHEMA = 1
_FORMS = "a shipped model, a model's folder, torchvision:NAME, timm:NAME or package.module:factory"


@dataclass(frozen=True)
class LoadedModel:
    """A module ready for use, and what is known of it.

    Attributes:
        name: As it was asked for.
        module: In evaluation mode, maps ``(n, c, h, w)`` pixels in [0, 1] to ``(n, classes)``.
        architecture: How ``build`` makes such a module again, without its weights.
        shape: ``(channels, height, width)`` of its inputs, if a card says so.
        classes: Names of its classes, if a card says so.
        folder: Where its card lies, if it has one.
    """

    name: str
    module: nn.Module
    architecture: Mapping[str, Any]
    shape: tuple[int, int, int] | None = None
    classes: tuple[str, ...] | None = None
    folder: Path | None = None


def models_folder() -> Path:
    """Where shipped models lie: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def shipped_models() -> list[str]:
    """Names of the models that come with advdetect; members of a family are ``family/member``."""
    root = models_folder()
    cards = [card for depth in ("*", "*/*") for card in root.glob(f"{depth}/card.json")]
    return sorted(card.parent.relative_to(root).as_posix() for card in cards)


def load_model(name: str, *, weights: Path | None = None) -> LoadedModel:
    """Find a model by name and load its weights.

    Args:
        name: A shipped model's name, a folder with ``card.json``, ``torchvision:NAME``,
            ``timm:NAME`` (pretrained weights are not fetched) or ``package.module:factory``, a
            function that returns a module.
        weights: A state dict, ``.safetensors`` or ``.pt`` (read with ``weights_only=True``).

    Raises:
        ModelError: no such model, or the weights do not fit it.
        FileError: a file is missing, damaged or not the one that the card names.
    """
    for folder in (Path(name), models_folder() / name):
        if (folder / "card.json").is_file():
            return _from_folder(name, folder, weights)
    prefix, colon, rest = name.partition(":")
    if not colon:
        if Path(name).exists():
            raise FileError(f"{name} has no card.json: expected {_FORMS}")
        raise ModelError(
            f"no model named {name!r}, shipped are: {', '.join(shipped_models())}; or give {_FORMS}"
        )
    kind = prefix if prefix in ("torchvision", "timm") else "factory"
    architecture = {"kind": kind, "name": rest if kind != "factory" else name}
    module = build(architecture)
    if weights is not None:
        set_weights(module, read_weights(weights), f"{weights}")
    elif kind != "factory":
        warnings.warn(
            f"{name} has random weights: give trained ones with --weights FILE, or as a factory's",
            AdvDetectWarning,
            stacklevel=2,
        )
    return LoadedModel(name, module.eval(), architecture)


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Make a module, without trained weights, from what ``LoadedModel.architecture`` says."""
    kind, name = architecture.get("kind"), str(architecture.get("name"))
    if kind == "network":
        if name not in NETWORKS:
            raise ModelError(f"no network named {name!r}, there are: {', '.join(NETWORKS)}")
        try:
            return NETWORKS[name](**architecture["arguments"])
        except (KeyError, TypeError) as error:
            raise ModelError(f"cannot build the network {name!r} as described: {error}") from None
    if kind == "ensemble":
        return Ensemble(build(member) for member in architecture.get("members", ()))
    if kind == "torchvision":
        return vision.model(name)
    if kind == "timm":
        return _timm_model(name)
    if kind == "factory":
        return _from_factory(name)
    raise ModelError(f"cannot build a model of kind {kind!r}: pass the module itself")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict, ``.safetensors`` or ``.pt``; nothing but tensors is unpickled."""
    if path.suffix == ".safetensors":
        return storage.load_tensors(path)
    if path.suffix not in (".pt", ".pth"):
        raise FileError(f"expected weights as .safetensors, .pt or .pth, got {path}")
    if not path.is_file():
        raise FileError(f"no file {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for a damaged or unsafe file
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise FileError(f"{path} holds no plain state dict: {reason}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise FileError(f"{path} holds no state dict of tensors")
    return state


def set_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load weights that must fit name by name and shape by shape."""
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise ModelError(f"the weights of {source} do not fit: {' '.join(lines)[:300]}") from None


def weight_files(architecture: Mapping[str, Any]) -> list[str]:
    """Names of the files that a model's folder holds: one for each member of an ensemble."""
    if architecture["kind"] != "ensemble":
        return ["weights.safetensors"]
    return [f"member-{i}.safetensors" for i in range(len(architecture["members"]))]


def parts(module: nn.Module) -> list[nn.Module]:
    """The modules whose weights go into those files."""
    return list(module.members) if isinstance(module, Ensemble) else [module]


def _from_folder(name: str, folder: Path, weights: Path | None) -> LoadedModel:
    card = storage.read_json(folder / "card.json", schema=CARD_SCHEMA)
    try:
        architecture = dict(card["network"])
        sha256 = {file: card["sha256"][file] for file in weight_files(architecture)}
        shape, classes = tuple(card["input"]["shape"]), tuple(card["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"expected network, input, classes and sha256 in {folder / 'card.json'}: {error!r}"
        ) from None
    if weights is not None:
        raise InputError(f"{name} has weights of its own: --weights is for other models")
    module = build(architecture)
    # One by one, so that what is damaged is named.
    for part, file in zip(parts(module), sha256, strict=True):
        source = folder / file
        set_weights(part, storage.load_tensors(source, sha256=sha256[file]), str(source))
    return LoadedModel(name, module.eval(), architecture, shape, classes, folder)


def _timm_model(name: str) -> nn.Module:
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise ModelError(f"timm:{name} needs the package timm: pip install timm") from None
    try:
        return timm.create_model(name, pretrained=False)
    except Exception as error:  # timm raises its own types for a wrong name
        raise ModelError(f"timm cannot make {name!r}: {error}") from None


def _from_factory(name: str) -> nn.Module:
    module_name, _, function = name.partition(":")
    # As with python -m, modules of the current folder count; last, so that they hide no others.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        factory = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ModelError(f"cannot import {name}: {error}; expected {_FORMS}") from None
    if not callable(factory) or isinstance(factory, nn.Module):
        raise ModelError(
            f"{name} is a {type(factory).__name__}, expected a function that returns a module"
        )
    module = factory()
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name} returned a {type(module).__name__}, expected a torch.nn.Module")
    return module
