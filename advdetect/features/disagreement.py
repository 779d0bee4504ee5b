"""How an ensemble's members disagree on an input."""

from itertools import combinations, groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from advdetect.features.base import Feature, Observation, block_ends, choose_landmarks
from advdetect.networks.ensemble import member_of
from advdetect.similarity.bits import BitCodes, firing_rates

PER_CLASS = 10
DEPTH = 2  # ends of blocks, counted from a member's last


class DisagreementFeatures(Feature):
    """Whether members give an input the same neighbours, and the same class by its bits.

    Each member joins the input to the same landmarks, so that edges can be compared between
    members whose units have nothing to do with each other: their agreement is the node-wise LSim
    of two members' edges. Bits are compared through their Hamming similarity to the classes.
    Looked at are the ends of the members' last two blocks, pairwise from the last. The state holds
    the unit-length outputs of ``PER_CLASS`` landmarks a class and the classes' firing rates.
    Without several members there are no columns.

    Source:
        Chen et al. 2021, arXiv:2111.11165, Eq. 4 and 5, between networks instead of layers.
    """

    def _fit(self, reference: Observation) -> None:
        rows, _ = choose_landmarks(reference.predicted, self.classes, PER_CLASS)
        for layer in {name for pair in self._pairs() for name in pair}:
            codes = BitCodes.pack(reference.layers[layer] > 0)
            self.state[f"rates.{layer}"] = firing_rates(codes, reference.predicted, self.classes)
            self.state[f"outputs.{layer}"] = _directions(reference, layer)[rows]

    def _columns(self) -> list[tuple[str, str]]:
        names = ("edges agree with", "bits agree on the classes with", "bits differ on own from")
        return [(layer, f"{name} {other}") for layer, other in self._pairs() for name in names]

    def _rows(self, observation: Observation) -> Tensor:
        blocks = [torch.zeros(len(observation.logits), 0, device=observation.logits.device)]
        edges, classes = {}, {}
        for layer in dict.fromkeys(name for pair in self._pairs() for name in pair):
            landmarks = self.state[f"outputs.{layer}"]
            edges[layer] = F.normalize(_directions(observation, layer) @ landmarks.T, dim=1)
            rates, bits = self.state[f"rates.{layer}"], observation.bits[layer]
            similarity = (bits @ (2 * rates - 1).T + (1 - rates).sum(1)) / bits.shape[1]
            classes[layer] = similarity.gather(1, observation.candidates)
        for layer, other in self._pairs():
            one, two = (
                classes[name] - classes[name].mean(1, keepdim=True) for name in (layer, other)
            )
            own = (one[:, 0] - two[:, 0]).abs()
            agree = (F.normalize(one, dim=1) * F.normalize(two, dim=1)).sum(1)
            blocks.append(torch.stack([(edges[layer] * edges[other]).sum(1), agree, own], dim=1))
        return torch.cat(blocks, dim=1)

    def _pairs(self) -> list[tuple[str, str]]:
        """The same place in two members, for every two of them."""
        ends = block_ends(self.layers)
        members = [list(own)[-DEPTH:][::-1] for _, own in groupby(ends, member_of)]
        return [pair for a, b in combinations(members, 2) for pair in zip(a, b, strict=False)]


def _directions(observation: Observation, layer: str) -> Tensor:
    """Outputs of every fourth of the chosen units at unit length, so that products are cosines."""
    return F.normalize(observation.thinned[layer][:, ::2].relu(), dim=1)
