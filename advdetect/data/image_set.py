"""What every data set is loaded into."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled pictures of one split, in ascending order of their source index.

    Args:
        name: The data set, as it was asked for.
        split: ``reference``, ``calibration``, ``evaluation``, ``train`` or ``test``.
        images: ``(n, c, h, w)`` float32 pixels in [0, 1].
        labels: ``(n,)`` int64 classes, positions in ``classes``.
        index: ``(n,)`` int64: which picture of the data set each row is. It names one
            picture whatever the split, so that rows of two splits never share one.
        classes: The name of each class.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    index: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, rows: Tensor | Sequence[int]) -> "ImageSet":
        """Keep some rows, by position or by a boolean mask, in the order given."""
        chosen = torch.as_tensor(rows)
        if chosen.dtype != torch.bool:
            chosen = chosen.long()
        return ImageSet(
            self.name,
            self.split,
            self.images[chosen],
            self.labels[chosen],
            self.index[chosen],
            self.classes,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of the shape, the pixels and the labels, in hexadecimal.

        Two sets with one fingerprint hold the same pictures in the same order, wherever
        they came from.
        """
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().astype("<f4", copy=False).data)
        digest.update(self.labels.contiguous().numpy().astype("<i8", copy=False).data)
        return digest.hexdigest()
