"""One picture attacked, within a budget that bounds what a stranger can have computed."""

from typing import Literal

import torch
from torch import Tensor

from advdetect.attacks.base import Budget
from advdetect.attacks.chunks import attack_chunk
from advdetect.errors import ModelError
from advdetect.guard import Guard
from advdetect.service.refusals import Refused

AttackName = Literal["fgsm", "pgd"]
# One gradient, and 20: these and the largest eps are all that a request can ask for.
ATTACKS: dict[AttackName, str] = {"fgsm": "linf_fgsm", "pgd": "linf_pgd"}
MOST_LEVELS = 32


def attack_one(guard: Guard, image: Tensor, attack: AttackName, levels: int) -> Tensor:
    """Lead the model away from what it says of a picture.

    Args:
        guard: Its model is attacked; the attack knows nothing of the guard.
        image: ``(c, h, w)`` pixels in [0, 1].
        attack: In ``ATTACKS``.
        levels: Largest change of a pixel, of 255; 0 changes nothing.

    Returns:
        ``(c, h, w)`` pixels, whether the model was misled or not.

    Raises:
        Refused: 422 for a model that passes no gradient.
    """
    images = image[None]
    with torch.no_grad():
        label = guard.model(images).argmax(1)
    try:
        found = attack_chunk(
            guard.model, images, label, Budget(ATTACKS[attack], levels / 255), seed=0
        )
    except ModelError:
        raise Refused(422, "gradient", "this model passes no gradient to attack by") from None
    return found.adversarial[0]


def amplified(difference: Tensor, levels: int) -> Tensor:
    """A perturbation as a picture: grey where nothing changed, black and white at the budget."""
    return (0.5 + difference * (255 / (2 * max(levels, 1)))).clamp(0, 1)
