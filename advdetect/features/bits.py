"""How typical an input's bits are of its predicted class."""

import torch
from torch import Tensor

from advdetect.features.base import CONTRAST, Feature, Observation, class_contrast
from advdetect.similarity.bits import BitCodes, firing_rates

SURE = 0.02  # a unit that fires in fewer (more) of a class's inputs is surely off (on)


class BitFeatures(Feature):
    """Class firing rates, and columns linear in the bits: one matrix product a layer.

    Within a class each bit fires with a stable probability. The mean Hamming similarity to the
    reference inputs of a class, and the log-likelihood of the bits as independent coin tosses,
    are linear in the bits; so is the share of bits that are on, or that contradict a class in
    which they are all but certain. The state holds ``classes x units`` rates a layer, 4 bytes
    each: at the default cap 80 kB for 10 classes and 8 MB for 1,000.

    Source:
        Jamil et al. 2023, arXiv:2305.01808 (bits, Hamming similarity); the rates are our own.
    """

    def _fit(self, reference: Observation) -> None:
        for layer, z in reference.layers.items():
            codes = BitCodes.pack(z > 0)
            self.state[layer] = firing_rates(codes, reference.predicted, self.classes)

    def _columns(self) -> list[tuple[str, str]]:
        names = [f"Hamming similarity, {kind}" for kind in CONTRAST]
        names += [f"log-likelihood, {kind}" for kind in CONTRAST]
        names += ["share of bits on", "surely off but on", "surely on but off"]
        return [(layer, name) for layer in self.layers for name in names]

    def _prepare(self) -> None:
        # One product a layer: similarity, log-likelihood, sure offs and sure ons, class by class.
        self._weights: dict[str, tuple[Tensor, Tensor]] = {}
        for layer, rates in self.state.items():
            likely = rates.clamp(0.01, 0.99)
            off, on = (rates < SURE).to(rates.dtype), (rates > 1 - SURE).to(rates.dtype)
            weights = [2 * rates - 1, torch.logit(likely), off, -on]
            offsets = [1 - rates, torch.log1p(-likely), torch.zeros_like(off), on]
            self._weights[layer] = (
                torch.cat(weights).T / rates.shape[1],
                torch.cat([offset.mean(1) for offset in offsets]),
            )

    def _rows(self, observation: Observation) -> Tensor:
        own = observation.predicted[:, None]
        blocks: list[Tensor] = []
        for layer in self.layers:
            bits = observation.bits[layer]
            weights, offsets = self._weights[layer]
            products = torch.addmm(offsets, bits, weights).split(self.classes, dim=1)
            similarity, likelihood, wrong_on, wrong_off = products
            blocks += [
                class_contrast(similarity, observation),
                class_contrast(likelihood, observation),
                bits.mean(1, keepdim=True),
                wrong_on.gather(1, own),
                wrong_off.gather(1, own),
            ]
        return torch.cat(blocks, dim=1)
