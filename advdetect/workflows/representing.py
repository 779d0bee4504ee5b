"""What the layers of a network make of a batch of inputs, as matrices to compare."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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

    def keep(_layer: str, pre_activation: Tensor) -> Tensor:
        outputs = pre_activation.clamp(min=0)
        if view.pooled and outputs.ndim > 2:
            # (n, c, h, w), or (n, tokens, c) of a transformer
            places = tuple(range(2, outputs.ndim)) if outputs.ndim > 3 else (1,)
            outputs = outputs.mean(places)
        return outputs.flatten(1) if outputs.ndim > 1 else outputs

    with torch.no_grad(), record(network, view.layers, keep=keep) as recording:
        logits = network(images.to(device))
    outputs = {
        name: x
        for name, x in recording.activations.items()
        if x.ndim == 2 and len(x) == len(images)
    }
    return outputs, logits
