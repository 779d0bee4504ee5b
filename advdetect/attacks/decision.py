"""HopSkipJump from a starting point that exists for every picture it can exist for."""

from typing import Any

import eagerpy as ep
import torch
from foolbox.attacks.hop_skip_jump import HopSkipJumpAttack


class UnitHopSkipJump(HopSkipJumpAttack):
    """HopSkipJump whose steps have the length that the paper gives them, in any batch.

    Source:
        Chen, Jordan & Wainwright 2020, arXiv:1904.02144.
    """

    def approximate_gradients(self, *args: Any, **kwargs: Any) -> Any:
        """Return a direction of unit length for each picture."""
        # Foolbox divides by the norm of the whole batch: among n pictures, steps come out
        # about sqrt(n) times too short.
        direction = super().approximate_gradients(*args, **kwargs)
        size = direction.flatten(start=1).norms.l2(axis=-1)
        return direction / ep.maximum(size, 1e-12).reshape((len(direction), 1, 1, 1))


class NearestStartHopSkipJump(UnitHopSkipJump):
    """HopSkipJump that starts from the nearest picture of another predicted class.

    Foolbox's own start blends in uniform noise, and stops with an error when the noise fails
    for one picture of the batch. Here the candidates are the other pictures of the batch, plain
    grey levels and uniform noise; a picture with no candidate of another class stays as it is.

    Source:
        Chen, Jordan & Wainwright 2020, arXiv:1904.02144.
    """

    def run(self, model: Any, inputs: Any, criterion: Any, **kwargs: Any) -> Any:
        """Return ``(n, c, h, w)`` pictures close to the decision boundary."""
        labels = criterion.labels.raw
        greys = torch.linspace(0, 1, 5, device=inputs.device).view(-1, 1, 1, 1)
        noise = torch.rand(16, *inputs.shape[1:], device=inputs.device)
        candidates = torch.cat([inputs, greys.expand(-1, *inputs.shape[1:]), noise])
        classes = model(candidates).argmax(1)
        distance = torch.cdist(inputs.flatten(1), candidates.flatten(1))
        distance[labels[:, None] == classes[None, :]] = torch.inf
        nearest, start = distance.min(1)
        able = torch.isfinite(nearest)
        moved = inputs.clone()
        if able.any():
            moved[able] = super().run(
                model,
                inputs[able],
                type(criterion)(labels[able]),
                starting_points=candidates[start[able]],
                **kwargs,
            )
        return moved
