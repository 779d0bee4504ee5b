"""Which picture belongs to which split: decided once, and the same on every machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Of the source pictures of data that brings no split of its own.
SHARES = {"reference": 0.5, "calibration": 0.2, "evaluation": 0.3}

# What `load` can be asked for; not every data set has the last two.
SPLITS = (*SHARES, "train", "test")

# Never changed: a guard fitted today must not meet its reference pictures in a later evaluation.
SEED = 0


@dataclass(frozen=True)
class Source:
    """A data set before any of its pictures is decoded.

    Args:
        labels: ``(n,)`` int64 class of every picture at hand.
        classes: The name of each class.
        splits: The rows of each split, in the order in which a limit takes them.
        read: Decodes rows: ``read(rows, fit)`` gives ``(len(rows), c, h, w)`` pixels in
            [0, 1], where ``fit`` brings each ``(n, c, h, w)`` part to the channels and
            size asked for.
        start: Source index of row 0.
    """

    labels: Tensor
    classes: tuple[str, ...]
    splits: Mapping[str, Tensor]
    read: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
    start: int = 0


def shuffled(rows: Tensor) -> Tensor:
    """Permute rows: data sorted by class would otherwise give a limit one class only."""
    # RandomState, because its stream is frozen; neither torch nor NumPy promises that of
    # their newer generators, and a split has to outlive their versions.
    order = np.random.RandomState(SEED).permutation(len(rows))
    return rows[torch.from_numpy(order)]


def split_rows(pool: Tensor, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut a pool of rows into the splits that have no rows of their own.

    The splits that remain share the pool in the proportion of ``SHARES``. Where
    evaluation has rows of its own, ``test`` is another name for them and ``train`` for
    the pool.

    A network that was trained on the pool has seen its calibration pictures, which makes
    p-values too small on new ones: give held-out pictures as ``own["calibration"]``.

    Args:
        pool: Rows to share out.
        own: Rows that came with a split's name.

    Returns:
        The rows of each split that has any, in a seeded order.
    """
    wanting = [name for name in SHARES if name not in own]
    total = sum(SHARES[name] for name in wanting)
    order, cut, share = shuffled(pool), 0, 0.0
    splits = {name: shuffled(rows) for name, rows in own.items()}
    for name in wanting:
        share += SHARES[name] / total
        end = round(share * len(pool))
        splits[name] = order[cut:end]
        cut = end
    if "evaluation" in own:
        splits |= {"train": order, "test": splits["evaluation"]}
    return {name: splits[name] for name in SPLITS if len(splits.get(name, ()))}
