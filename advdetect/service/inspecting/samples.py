"""Pictures to begin with: of each class a clean one, and the same one attacked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from advdetect import data
from advdetect.attacks.base import Budget
from advdetect.attacks.chunks import attack_chunk
from advdetect.guard import Guard

ATTACK = "linf_pgd"
LEVELS = (8, 16, 32)  # of 255; the least that misleads the model is taken
LOOKED_THROUGH = 300


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture in 8 bits, as any file holds it.

    Attributes:
        label: What it shows.
        image: ``(c, h, w)`` pixels.
        levels: The attack's eps in levels of 255, 0 for a clean picture.
    """

    label: int
    image: Tensor
    levels: int


def make_samples(guard: Guard, name: str) -> list[Sample]:
    """Take the first picture of each class that the model gets right, and attack it.

    Nothing is chosen by what the guard says of it, so that some clean ones may be flagged and
    some attacked ones pass, as in service. They come from the evaluation split, which no guard
    was fitted on.
    """
    source = data.load(name, split="evaluation", limit=LOOKED_THROUGH)
    images, labels = source.images, source.labels
    with torch.no_grad():
        right = guard.model(images).argmax(1) == labels
    rows = [
        int(of_class[0])
        for c in range(len(source.classes))
        if len(of_class := (right & (labels == c)).nonzero().squeeze(1))
    ]
    clean = [Sample(int(labels[i]), images[i], 0) for i in rows]
    left = dict(enumerate(clean))
    attacked: dict[int, Sample] = {}
    for levels in LEVELS:
        if not left:
            break
        batch = torch.stack([sample.image for sample in left.values()])
        truth = torch.tensor([sample.label for sample in left.values()])
        found = _attack(guard, batch, truth, levels)
        with torch.no_grad():
            wrong = (guard.model(found).argmax(1) != truth).tolist()
        for position, image, misled in zip(list(left), found, wrong, strict=True):
            if misled:
                attacked[position] = Sample(left.pop(position).label, image, levels)
    return [*clean, *(attacked[position] for position in sorted(attacked))]


def _attack(guard: Guard, images: Tensor, labels: Tensor, levels: int) -> Tensor:
    found = attack_chunk(guard.model, images, labels, Budget(ATTACK, levels / 255), seed=0)
    # The budget is a whole number of levels, so that rounding to whole levels stays within it.
    return (found.adversarial * 255).round() / 255
