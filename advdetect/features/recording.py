"""Every ReLU-family call of a forward pass, seen from outside the model.

A ``TorchFunctionMode`` sees modules and functional calls alike, and each of them once: torch
switches the mode off while it answers. Whose forward is running, the interpreter's stack says,
at the cost of a few frames a call: hooks on every module would cost a small network more than
all the rest, and would need mending after an exception.
"""

import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from types import FrameType
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from advdetect.errors import InputError, ModelError
from advdetect.similarity.bits import BitCodes

_SHARP = ("relu", "relu6", "leaky_relu", "prelu", "rrelu")
_SMOOTH = ("gelu", "silu", "hardswish", "mish", "elu", "selu", "celu", "softplus")
# These belong to the family where the named argument is 0. nn.ReLU6 calls hardtanh.
_BOUNDED = {
    "hardtanh": "min_val",
    "clamp": "min",
    "clip": "min",
    "clamp_min": "min",
    "threshold": "threshold",
}
FAMILY = (*_SHARP, *_SMOOTH, *_BOUNDED)
# Their slope is a step, and the slope's own slope nothing.
_STEPS = (*_SHARP, *_BOUNDED)
_LEAKY = ("leaky_relu", "prelu", "rrelu")

# nn.Threshold calls _threshold, exported programs call overloads of operators.
_SPELLINGS = {
    spelling: name
    for name in FAMILY
    for spelling in (name, f"{name}_", f"_{name}", f"{name}.default", f"{name}_.default")
}
_MODULE_CALL = nn.Module._wrapped_call_impl.__code__


@final
class Recording:
    """What the last finished forward pass under ``record`` showed; it outlives the block.

    Raises:
        ModelError: on reading, if no pass has finished or the model made no ReLU-family call.
        InputError: on reading, if an entry of ``layers`` fits no call of the pass.
    """

    def __init__(
        self, layers: Sequence[str] | None, keep: Callable[[str, Tensor], Tensor] | None
    ) -> None:
        self._wanted = layers
        self._part = keep
        self._restart()

    @property
    def layers(self) -> list[str]:
        """Names of the layers kept, in call order."""
        return list(self.activations)

    @property
    def activations(self) -> dict[str, Tensor]:
        """Pre-activations ``(n, ...)`` by layer, in call order; no later pass changes them."""
        self._check()
        return self._kept

    @property
    def bits(self) -> dict[str, BitCodes]:
        """Which units are on, pre-activation > 0, by layer; packed when first asked for."""
        for name, activation in self.activations.items():
            if name not in self._packed:
                on = activation.detach() > 0
                self._packed[name] = BitCodes.pack(on.flatten(1) if on.ndim > 1 else on[:, None])
        return self._packed

    def _restart(self) -> None:
        self._finished = False
        self._calls: dict[str, int] = {}
        self._seen: list[str] = []
        self._kept: dict[str, Tensor] = {}
        self._packed: dict[str, BitCodes] = {}

    def _finish(self) -> None:
        self._finished = True

    def _see(self, name: str, activation: Tensor) -> None:
        self._calls[name] = call = self._calls.get(name, 0) + 1
        if call > 1:
            name = f"{name}:{call}"
        self._seen.append(name)
        if self._wanted is not None and not _chosen(name, self._wanted):
            return
        part = activation if self._part is None else self._part(name, activation)
        # The model may overwrite the tensor, in this very call or later.
        self._kept[name] = part.clone() if _share_memory(part, activation) else part

    def _check(self) -> None:
        if not self._finished:
            raise ModelError(
                "no forward pass of the recorded model has finished: call model(images), "
                "not model.forward, inside the block and in its thread"
            )
        if not self._seen:
            raise ModelError(
                "the model has no ReLU-family call, saw none in a forward pass: "
                f"expected {', '.join(FAMILY)}, gated at 0 and called from Python"
            )
        for entry in self._wanted or ():
            if entry not in self._seen and not any(fnmatchcase(n, entry) for n in self._seen):
                raise InputError(f"no layer fits {entry!r}, the model has: {', '.join(self._seen)}")


@contextmanager
def record(
    model: nn.Module,
    layers: Sequence[str] | None = None,
    *,
    keep: Callable[[str, Tensor], Tensor] | None = None,
    sharpness: float | None = None,
) -> Iterator[Recording]:
    """Keep what goes into every ReLU-family call of ``model`` while the block runs.

    The model computes what it would compute otherwise, in-place calls included, and nothing
    stays on it afterwards, whatever was raised. Each forward pass replaces the one before.
    Activations stay attached to the graph wherever gradients are on: any function of them can
    be differentiated by the images. Blocks nest, each sees its own model's calls alone.

    A layer is one call. The first call of a ReLU module in a pass is named by the module's
    path, ``layer1.0.relu``; of a function, by the path of the module whose forward calls it
    and its own name, ``features.relu``. Further calls of that name end in ``:2``, ``:3``, ...

    Traps: every ``clamp`` of floats at 0 counts, whatever the model means by it. The first axis
    is the model's, not always the images'. Calls inside a scripted function or on another
    thread (``nn.DataParallel``) are not seen, those inside an autograd function lose gradients.
    Transformer layers leave torch's fused path, which differs in the last digits.

    Args:
        model: Any module but a scripted or compiled one. Passes of other threads are not seen.
        layers: Names or ``fnmatch`` patterns of the layers to keep; None keeps all.
        keep: Given a layer's name and pre-activation, what to keep of it, such as a sample of
            its units; ``bits`` are then those of what was kept. None keeps all, which costs a
            copy and holds the memory of all layers together.
        sharpness: Above 0. Where the slope of a call is a step at 0 it rises smoothly instead,
            as a sigmoid of this steepness in units of the layer's mean magnitude, so that
            gradients themselves can be differentiated; outputs stay what they are. None leaves
            the step.

    Yields:
        The ``Recording``, to be read once a pass has finished.

    Raises:
        InputError: ``model`` is no module, ``layers`` is a string, or ``sharpness`` is not a
            number above 0.
        ModelError: the model or one of its modules is scripted or compiled.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a torch.nn.Module to record, got {type(model).__name__}")
    if isinstance(layers, str):
        raise InputError(f"expected a sequence of layers, got a string: use [{layers!r}]")
    if sharpness is not None and not 0 < sharpness < math.inf:
        raise InputError(f"sharpness must be a number above 0, got {sharpness}")
    paths = {module: path for path, module in model.named_modules()}
    for module, path in paths.items():
        _check_visible(module, path)
    recording = Recording(None if layers is None else tuple(layers), keep)
    calls = _Calls(model, paths, recording, sharpness)
    with (
        model.register_forward_pre_hook(calls.enter, prepend=True),
        model.register_forward_hook(calls.leave),
        calls,
    ):
        yield recording


class _Calls(TorchFunctionMode):
    """Shows a recording the ReLU-family calls made while a model's forward is running."""

    def __init__(
        self,
        model: nn.Module,
        paths: Mapping[nn.Module, str],
        recording: Recording,
        sharpness: float | None,
    ) -> None:
        super().__init__()
        self._sharpness = sharpness
        self._model = model
        self._paths = paths
        self._recording = recording
        self._thread = threading.get_ident()

    def enter(self, _model: nn.Module, _inputs: object) -> None:
        if threading.get_ident() != self._thread:
            return
        running = [module for module in _running_modules() if module is self._model]
        if len(running) == 1:  # a model may call itself, with an image made a batch, say
            self._recording._restart()

    def leave(self, _model: nn.Module, _inputs: object, _output: object) -> None:
        if threading.get_ident() == self._thread:
            self._recording._finish()

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        function = _SPELLINGS.get(getattr(func, "__name__", ""))
        if function is not None:
            activation = _pre_activation(function, args, kwargs)
            name = None if activation is None else self._name(function)
            if activation is not None and name is not None:
                self._recording._see(name, activation)
                if self._sharpness is not None and function in _STEPS:
                    return _with_smooth_slope(func, function, args, kwargs, self._sharpness)
        return func(*args, **kwargs)

    def _name(self, function: str) -> str | None:
        """Name a call, or return None where it is not the model's."""
        caller = None
        for module in _running_modules():
            if caller is None and module in self._paths:
                caller = module
            if caller is not None and module is self._model:
                path = self._paths[caller]
                return path if path and _is_activation(caller) else f"{path}.{function}".lstrip(".")
        return None


def _running_modules() -> Iterator[nn.Module]:
    """Modules that are being called, the innermost first."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is _MODULE_CALL:
            yield frame.f_locals["self"]
        frame = frame.f_back


def _is_activation(module: nn.Module) -> bool:
    return any(base.__module__ == "torch.nn.modules.activation" for base in type(module).__mro__)


def _pre_activation(
    function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Tensor | None:
    """Return what a call gates at 0, or None where it gates nothing, or elsewhere."""
    gated = args[0] if args else kwargs.get("input")
    if not isinstance(gated, Tensor) or not gated.is_floating_point() or gated.ndim == 0:
        return None
    if function in _BOUNDED:
        bound = args[1] if len(args) > 1 else kwargs.get(_BOUNDED[function])
        if not isinstance(bound, int | float) or bound != 0:
            return None
    return gated


def _with_smooth_slope(
    func: Callable[..., Any],
    function: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    sharpness: float,
) -> Tensor:
    """The output ``(n, ...)`` of a call, with the slope of a softplus."""
    gated: Tensor = args[0] if args else kwargs["input"]
    z = gated.clone()  # the call may overwrite it
    with torch.no_grad():
        output = func(*args, **kwargs)
        rest = {name: value for name, value in kwargs.items() if name not in ("input", "inplace")}
        below = -func(-torch.ones_like(z), *args[1:], **rest) if function in _LEAKY else 0.0
    steepness = sharpness / (z.detach().abs().mean() + 1e-12)
    smooth = below * z + (1 - below) * functional.softplus(steepness * z) / steepness
    smooth = torch.where((z > 0) & (output < z), 0.0, smooth)  # flat where bounded above
    found = output.detach() + (smooth - smooth.detach())
    return gated.copy_(found) if output is gated else found


def _share_memory(part: Tensor, whole: Tensor) -> bool:
    if part is whole:
        return True
    return part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


def _chosen(name: str, entries: Sequence[str]) -> bool:
    return name in entries or any(fnmatchcase(name, entry) for entry in entries)


def _check_visible(module: nn.Module, path: str) -> None:
    what = f"its module {path}" if path else "the model"
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"cannot see into TorchScript, {what} is a {type(module).__name__}: "
            "record the nn.Module it was made from"
        )
    if "_orig_mod" in module._modules:
        raise ModelError(
            f"cannot see into a compiled model, {what} is a {type(module).__name__}: "
            "record the original module, model._orig_mod"
        )
    if module._compiled_call_impl is not None:
        raise ModelError(
            f"cannot see into a compiled model, {what} has had its compile() called: "
            "record one that has not"
        )
