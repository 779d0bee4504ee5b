"""How typical an input's bits are of its predicted class."""

import torch
from torch import Tensor

from advdetect.features.base import CONTRAST, Feature, Observation, class_contrast
from advdetect.similarity.bits import BitCodes, firing_rates

SURE = 0.02  # a unit that fires in fewer (more) of a class's inputs is surely off (on)


def coin_tosses(rates: Tensor) -> tuple[Tensor, Tensor]:
    """The mean log-likelihood of bits as coin tosses of ``(classes, units)`` firing rates.

    Rates are held within .01 and .99: no bit proves anything.

    Returns:
        ``(classes, units)`` weights and ``(classes,)`` offsets of the bits.
    """
    likely = rates.clamp(0.01, 0.99)
    return torch.logit(likely) / rates.shape[1], torch.log1p(-likely).mean(1)


class BitFeatures(Feature):
    """Class firing rates, and columns linear in the bits: one matrix product a layer.

    Within a class each bit fires with a stable probability. The mean Hamming similarity to the
    reference inputs of a class, and the log-likelihood of the bits as independent coin tosses,
    are linear in the bits; so is the share of bits that are on, or that contradict a class in
    which they are all but certain. The state holds ``classes x units`` rates a layer, 4 bytes
    each: at the default cap 80 kB for 10 classes and 8 MB for 1,000; the products need four
    times as much beside it.

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
            units = rates.shape[1]
            likely, unlikely = coin_tosses(rates)
            off, on = (rates < SURE).to(rates.dtype), (rates > 1 - SURE).to(rates.dtype)
            weights = [(2 * rates - 1) / units, likely, off / units, -on / units]
            offsets = [(1 - rates).mean(1), unlikely, torch.zeros_like(unlikely), on.mean(1)]
            self._weights[layer] = torch.stack(weights, dim=1), torch.stack(offsets, dim=1)

    def _rows(self, observation: Observation) -> Tensor:
        classes, places = observation.searched
        products: list[Tensor] = []
        for layer in self.layers:
            weights, offsets = self._weights[layer]
            if classes is not None:
                weights, offsets = weights[classes], offsets[classes]
            bits = observation.bits[layer]
            products.append(torch.addmm(offsets.flatten(), bits, weights.flatten(0, 1).T))
        # (n, layers, 4, k): what each product says of each candidate.
        every = torch.stack(products, dim=1).unflatten(2, (-1, 4)).transpose(2, 3)
        said = every.gather(3, places[:, None, None].expand(*every.shape[:3], -1))
        share = torch.stack([observation.bits[layer].mean(1) for layer in self.layers], dim=1)
        blocks = [class_contrast(said[:, :, :2]).flatten(2), share[..., None], said[:, :, 2:, 0]]
        return torch.cat(blocks, dim=2).flatten(1)
