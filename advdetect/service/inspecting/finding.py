"""Which pictures the landmarks are: a guard keeps their codes alone, but the codes tell."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from advdetect.data import ImageSet
from advdetect.guard import Guard
from advdetect.service.inspecting.landmarks import Landmarks
from advdetect.similarity.bits import BitCodes, hamming_neighbors

BATCH = 50
# The same picture may differ by a few bits, whose sums round otherwise on another machine; two
# different ones differ by several hundred.
SAME = 0.995

State = Literal["looking", "found", "none"]


class LandmarkPictures:
    """Finds landmarks among pictures at hand, by the codes that the model gives these.

    Args:
        guard: The guard.
        landmarks: Its landmarks.
        pictures: Where to look; ``None`` finds nothing.
    """

    def __init__(self, guard: Guard, landmarks: Landmarks, pictures: ImageSet | None) -> None:
        self._guard = guard
        self._pictures = pictures
        self.landmarks = landmarks
        self._codes = _joined(landmarks.codes)
        self._next = 0
        self._found: dict[int, Tensor] = {}

    @property
    def state(self) -> State:
        """``looking`` as long as there is more to look through; then whether any was found."""
        if self._pictures is not None:
            return "looking"
        return "found" if self._found else "none"

    def look_on(self) -> bool:
        """Look through the next few pictures; returns whether more are left."""
        if self._pictures is None:
            return False
        images = self._pictures.images[self._next : self._next + BATCH]
        observation = self._guard.extractor.observe(self._guard.model, images)
        codes = {layer: BitCodes.pack(observation.on[layer]) for layer in self.landmarks.layers}
        similarity, rows = hamming_neighbors(_joined(codes), self._codes, 1)
        found = zip(similarity[:, 0].tolist(), rows[:, 0].tolist(), images, strict=True)
        for alike, row, image in found:
            if alike >= SAME and row not in self._found:
                self._found[row] = image.clone()
        self._next += len(images)
        if self._next >= len(self._pictures) or len(self._found) == len(self._codes):
            self._pictures = None  # the others are not needed any more
        return self._pictures is not None

    def picture(self, row: int) -> Tensor | None:
        """The pixels of a landmark, once it has been found."""
        return self._found.get(row)


def _joined(codes: Mapping[str, BitCodes]) -> BitCodes:
    """The codes of all layers side by side; what pads each is 0 everywhere."""
    packed = torch.cat([code.packed for code in codes.values()], dim=1)
    return BitCodes(packed, 8 * packed.shape[1])
