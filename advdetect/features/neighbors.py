"""How near an input's bits are to the reference inputs of the classes in question."""

import torch
from torch import Tensor

from advdetect.features.base import Feature, Observation, block_ends, choose_landmarks
from advdetect.similarity.bits import BitCodes, hamming_similarity

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
        classes = self.state["classes"]
        everyone = torch.arange(len(classes), device=classes.device)
        members = [(classes == c).nonzero().squeeze(1) for c in range(self.classes)]
        self._members = [own if len(own) else everyone for own in members]
        self._codes: dict[tuple[str, int], BitCodes] = {}

    def _rows(self, observation: Observation) -> Tensor:
        pair = torch.stack([observation.predicted, observation.runner_up], dim=1)
        # Inputs grouped by class, once for all layers.
        groups = [(c, *(pair == c).nonzero(as_tuple=True)) for c in pair.unique().tolist()]
        blocks: list[Tensor] = []
        for layer in block_ends(self.layers):
            bits = observation.bits[layer]
            codes = BitCodes.pack(bits > 0) if observation.sharpness is None else None
            near = bits.new_zeros(pair.shape)
            for c, rows, columns in groups:
                members = self._landmarks(layer, c, bits.shape[1])
                if codes is None:
                    similarity = _soft_similarity(bits[rows], members)
                else:
                    similarity = hamming_similarity(codes[rows], members)
                nearest = similarity.topk(min(NEIGHBORS, len(members)), dim=1, sorted=False).values
                near[rows, columns] = nearest.mean(1).to(near.dtype)
            blocks += [near, near[:, :1] - near[:, 1:]]
        return torch.cat(blocks, dim=1)

    def _landmarks(self, layer: str, c: int, units: int) -> BitCodes:
        """Codes of a class's landmarks, cut out of the layer's once."""
        if (layer, c) not in self._codes:
            every = BitCodes(self.state[f"codes.{layer}"], units)
            self._codes[layer, c] = every[self._members[c]]
        return self._codes[layer, c]


def _soft_similarity(bits: Tensor, landmarks: BitCodes) -> Tensor:
    """Hamming similarity of bits between 0 and 1 to codes, differentiable."""
    other = landmarks.unpack().to(bits.dtype)
    return (bits @ other.T + (1 - bits) @ (1 - other).T) / bits.shape[1]
