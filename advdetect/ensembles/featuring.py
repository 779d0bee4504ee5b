"""What of a member's forward pass a penalty looks at."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from advdetect.ensembles.penalties import LAST, PENULTIMATE
from advdetect.errors import InputError, ModelError
from advdetect.features import record


def find_layers(model: nn.Module, images: Tensor, entries: Sequence[str]) -> tuple[str, ...]:
    """Turn what a user asks for into names of recorded layers, and ``penultimate``.

    Args:
        model: Any module that ``record`` can see into.
        images: Some inputs; one pass in evaluation mode shows which layers there are.
        entries: ``penultimate`` (what goes into the last linear layer that runs), ``last`` (the
            last recorded layer), or names and ``fnmatch`` patterns of recorded layers.

    Raises:
        ModelError: no linear layer runs, or there is nothing to record.
        InputError: an entry fits no layer.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), record(model) as recording:
            logits_and_features(model, images, [e for e in entries if e == PENULTIMATE])
    finally:
        for module, mode in modes.items():
            module.training = mode
    found: dict[str, None] = {}
    for entry in entries:
        if entry == PENULTIMATE:
            names = [entry]
        elif entry == LAST:
            names = recording.layers[-1:]
        else:
            names = [n for n in recording.layers if n == entry or fnmatchcase(n, entry)]
        if not names:
            raise InputError(
                f"no layer fits {entry!r}, choose from: {PENULTIMATE}, {LAST}, "
                f"{', '.join(recording.layers)}"
            )
        found |= dict.fromkeys(names)
    return tuple(found)


def logits_and_features(
    model: nn.Module, images: Tensor, layers: Sequence[str]
) -> tuple[Tensor, list[Tensor]]:
    """Run a model and return its logits and the ``(n, p)`` float32 features of each layer.

    Args:
        model: Any module that ``record`` can see into.
        images: ``(n, c, h, w)`` pixels.
        layers: As ``find_layers`` returned them. Of a recorded one the pre-activations are
            taken, flattened.

    Raises:
        ModelError: no linear layer runs.
    """
    recorded = [layer for layer in layers if layer != PENULTIMATE]
    activations: dict[str, Tensor] = {}
    with seeing_linear_inputs(model) as into_linear:
        if recorded:
            with record(model, recorded) as recording:
                logits = model(images)
            activations = recording.activations
        else:
            logits = model(images)
    if PENULTIMATE in layers:
        if not into_linear:
            raise ModelError(
                f"no linear layer runs in {type(model).__name__}, so it has no {PENULTIMATE} "
                "features: name recorded layers instead"
            )
        activations = activations | {PENULTIMATE: into_linear[-1]}
    return logits, [activations[layer].flatten(1).float() for layer in layers]


@contextmanager
def seeing_linear_inputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what goes into every linear layer that runs; the last is penultimate."""
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
