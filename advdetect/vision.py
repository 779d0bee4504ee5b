"""Torchvision, imported here alone, and late: importing this module imports nothing heavy."""

import warnings
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from advdetect.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

# The operators whose schemas torchvision takes for granted while it is imported.
OPERATORS = ("nms", "qnms")

# A torch.library.Library takes its operators away when it is collected.
_libraries: list[Any] = []


@cache
def torchvision() -> ModuleType:
    """Import torchvision on first use, and return it.

    Its datasets, transforms and models work beside any build of torch. Its compiled
    operators (``nms``, ``roi_align``: detection, not classification) work only where
    both were built for the same device.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _define_missing_operators()
        return import_module("torchvision")


def model(name: str, *, classes: int = 1000) -> "nn.Module":
    """Build torchvision's classifier ``name`` in eval mode, with untrained weights.

    Untrained weights come from torch's global generator: load weights next, or seed it.

    Args:
        name: A name that ``torchvision.models.list_models`` knows, such as ``resnet18``.
        classes: Number of logits.

    Raises:
        ModelError: Torchvision has no classifier of that name.
    """
    models = torchvision().models
    names = models.list_models(module=models)
    if name not in names:
        close = get_close_matches(name, names, n=3, cutoff=0.5) or ["resnet18", "vgg11_bn"]
        raise ModelError(
            f"torchvision has no classifier named {name!r}, perhaps you meant: {', '.join(close)}"
        )
    with warnings.catch_warnings():
        # Inception and GoogLeNet announce that their initialisation may change.
        warnings.simplefilter("ignore")
        built: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    return built.eval()


def _define_missing_operators() -> None:
    """Define the schemas that torchvision's compiled half would have defined, had it loaded.

    A torchvision built for CUDA cannot load that half beside a torch without CUDA, and
    then stops at its first reference to these operators. Where the half does load, the
    definitions are its own and ours would clash with them: so it is tried first.
    """
    import torch

    spec = find_spec("torchvision")
    folders = (spec.submodule_search_locations if spec else None) or []
    for compiled in (file for folder in folders for file in Path(folder).glob("_C*")):
        with suppress(OSError):
            torch.ops.load_library(str(compiled))
    missing = [name for name in OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
