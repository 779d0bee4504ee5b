"""How near an input's bits are to the reference inputs of the classes in question."""

from itertools import pairwise

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation, block_ends, choose_landmarks
from advdetect.similarity.bits import BitCodes, nearest_in_groups

PER_CLASS = 150
NEIGHBORS = 5


class NeighborFeatures(Feature):
    """Hamming similarity to the nearest landmarks of the predicted class and of the runner-up.

    Only these two classes are searched, at the ends of blocks, so that the price does not grow
    with the number of classes. A class without landmarks is answered from all of them. The
    state holds the packed codes of up to ``PER_CLASS`` landmarks a class, ``units / 8`` bytes
    each: at the default cap 380 kB a layer for 10 classes.

    Source:
        Papernot & McDaniel 2018, arXiv:1803.04765 (neighbours by layer); here on bits.
    """

    def _fit(self, reference: Observation) -> None:
        rows, self.state["classes"] = choose_landmarks(reference.predicted, self.classes, PER_CLASS)
        for layer in block_ends(self.layers):
            self.state[f"codes.{layer}"] = BitCodes.pack(reference.bits[layer][rows] > 0).packed

    def _columns(self) -> list[tuple[str, str]]:
        names = ("nearest of own class", "nearest of runner-up class", "own minus runner-up")
        return [(layer, name) for layer in block_ends(self.layers) for name in names]

    def _prepare(self) -> None:
        # Landmarks stand grouped by class, so that those of one class are a slice.
        ends = self.state["classes"].bincount(minlength=self.classes).cumsum(0).tolist()
        self._members = [
            slice(start, end) if end > start else slice(None) for start, end in pairwise([0, *ends])
        ]

    def _rows(self, observation: Observation) -> Tensor:
        # Each input asks about two classes; the questions are sorted by class, once for all layers.
        pair = torch.stack([observation.predicted, observation.runner_up], dim=1)
        asked, order = pair.flatten().sort()
        classes, counts = asked.unique_consecutive(return_counts=True)
        ends = counts.cumsum(0).tolist()
        groups = [
            (slice(start, end), self._members[c])
            for c, (start, end) in zip(classes.tolist(), pairwise([0, *ends]), strict=True)
        ]
        answers = [
            self._nearest(observation, layer, order // 2, groups)
            for layer in block_ends(self.layers)
        ]
        near = torch.stack(answers, dim=1)[order.argsort()].unflatten(0, (-1, 2)).mT
        return torch.cat([near, near[..., :1] - near[..., 1:]], dim=2).flatten(1)

    def _nearest(
        self,
        observation: Observation,
        layer: str,
        inputs: Tensor,
        groups: list[tuple[slice, slice]],
    ) -> Tensor:
        """Mean similarity of ``inputs`` to their nearest landmarks in one layer.

        Args:
            observation: Of the whole batch.
            layer: One of the layers searched.
            inputs: ``(q,)`` which input each question is about.
            groups: Which questions are about which landmarks.

        Returns:
            ``(q,)``, differentiable where the observation's bits are.
        """
        on = observation.on[layer]
        landmarks = BitCodes(self.state[f"codes.{layer}"], on.shape[1])
        if observation.sharpness is None:
            found = nearest_in_groups(BitCodes.pack(on)[inputs], landmarks, groups, NEIGHBORS)
        else:
            found = _soft_nearest(observation.bits[layer][inputs], landmarks, groups)
        return found.to(observation.logits.dtype)


def _soft_nearest(bits: Tensor, landmarks: BitCodes, groups: list[tuple[slice, slice]]) -> Tensor:
    """As ``nearest_in_groups``, of bits between 0 and 1, differentiable."""
    other = landmarks.unpack().to(bits.dtype)
    parts = [
        (bits[rows] @ other[members].T + (1 - bits[rows]) @ (1 - other[members]).T) / bits.shape[1]
        for rows, members in groups
    ]
    return torch.cat([part.topk(min(NEIGHBORS, part.shape[1])).values.mean(1) for part in parts])
