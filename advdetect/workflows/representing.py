"""What the layers of a network make of a batch of inputs, as matrices to compare."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from advdetect.errors import InputError
from advdetect.features import record

BATCH = 500


@dataclass(frozen=True)
class View:
    """What is looked at in a network, and how many inputs at a time.

    Attributes:
        layers: Names or patterns of the layers; None takes all.
        pooled: Average each channel over the picture; else every unit is a column.
        batch: Inputs at a time; a last batch that is not full is left out.
    """

    layers: Sequence[str] | None = None
    pooled: bool = False
    batch: int = BATCH

    def shows(self, layer: str) -> bool:
        """Say whether a layer is looked at."""
        return self.layers is None or any(_fits(entry, layer) for entry in self.layers)

    def check(self, seen: Iterable[str]) -> None:
        """Refuse an entry of ``layers`` that fits none of the layers of any network."""
        names = dict.fromkeys(seen)
        for entry in self.layers or ():
            if not any(_fits(entry, name) for name in names):
                raise InputError(f"no layer fits {entry!r}, those that others fit: {list(names)}")


def _fits(entry: str, layer: str) -> bool:
    return layer == entry or fnmatchcase(layer, entry)


EVERYTHING = View()


def layer_outputs(
    network: nn.Module, images: Tensor, view: View = EVERYTHING
) -> tuple[dict[str, Tensor], Tensor]:
    """Run images through a network and keep what every ReLU-family call lets through.

    Args:
        network: In evaluation mode.
        images: ``(n, c, h, w)`` pixels in [0, 1].
        view: Which layers, and whether they are pooled.

    Returns:
        Outputs ``(n, p)`` by layer, in call order: the positive part of what goes into the
        call; and the logits. Layers without a row per image, as those of a network that mixes
        a batch, are left out.

    Raises:
        InputError: an entry of ``layers`` fits no layer.
        ModelError: the network makes no ReLU-family call, or cannot be seen into.
    """
    device = next((p.device for p in network.parameters()), images.device)

    def keep(layer: str, pre_activation: Tensor) -> Tensor:
        if not view.shows(layer) or pre_activation.ndim < 2:
            return pre_activation.new_empty(0)
        outputs = pre_activation.clamp(min=0)
        if view.pooled and outputs.ndim > 2:
            # (n, c, h, w), or (n, tokens, c) of a transformer
            outputs = outputs.mean(tuple(range(2, outputs.ndim)) if outputs.ndim > 3 else (1,))
        return outputs.flatten(1)

    with torch.no_grad(), record(network, keep=keep) as recording:
        logits = network(images.to(device))
    seen = recording.activations
    outputs = {name: x for name, x in seen.items() if x.ndim == 2 and len(x) == len(images)}
    if not outputs:
        wanted = f"that fits {', '.join(view.layers)}" if view.layers else "with a row per image"
        raise InputError(f"no layer {wanted}, the model has: {', '.join(seen)}")
    return outputs, logits
