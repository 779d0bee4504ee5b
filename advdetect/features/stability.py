"""Which bits flip when the picture is looked at again, mirrored, smoothed or denoised."""

from typing import ClassVar

import torch
from torch import Tensor

from advdetect.features.base import CONTRAST, Feature, Observation, class_contrast
from advdetect.features.bits import coin_tosses
from advdetect.similarity.bits import BitCodes, firing_rates


class StabilityFeatures(Feature):
    """Flips of bits between a picture and another look at it, and what the flips speak for.

    A perturbation tuned to one picture does less to the same mirrored, smoothed or denoised: bits
    flip back, and they flip towards the class that the picture had before. For every look and layer
    the shares of bits that come on and go off, and how the look's log-likelihood of each class's
    firing rates changed and what it is; of the logits, how far confidence and decision move. A
    look costs a pass. The state holds ``classes x units`` rates a layer, as ``bits``
    does.

    Source:
        Our own; smoothing as a probe is of Xu, Evans & Qi 2018, arXiv:1704.01155.
    """

    needs_again: ClassVar[bool] = True
    of_decision: ClassVar[bool] = True

    def _fit(self, reference: Observation) -> None:
        for layer, z in reference.layers.items():
            codes = BitCodes.pack(z > 0)
            self.state[layer] = firing_rates(codes, reference.predicted, self.classes)

    def _columns(self) -> list[tuple[str, str]]:
        names = ["bits that come on", "bits that go off"]
        names += [f"log-likelihood again, {kind}" for kind in CONTRAST]
        names += [f"log-likelihood gained, {kind}" for kind in CONTRAST]
        own = ["own logit lost", "gap lost", "softmax moved", "log of own probability again"]
        every = [(layer, name) for layer in self.layers for name in names]
        every += [("", name) for name in own]
        return [(layer, f"{name} ({look})") for look in self.looks for layer, name in every]

    def _prepare(self) -> None:
        self._tosses = {layer: coin_tosses(rates) for layer, rates in self.state.items()}

    def _rows(self, observation: Observation) -> Tensor:
        return torch.cat([self._flips(observation, again) for again in observation.again], dim=1)

    def _flips(self, observation: Observation, again: Observation) -> Tensor:
        """What one more look shows."""
        classes, places = observation.searched
        flips: list[Tensor] = []
        products: list[Tensor] = []
        for layer in self.layers:
            before, after = observation.bits[layer], again.bits[layer]
            change = after - before
            flipped, net = change.abs().mean(1), change.mean(1)
            flips.append(torch.stack([flipped + net, flipped - net], dim=1) / 2)
            weights, offsets = self._tosses[layer]
            if classes is not None:
                weights, offsets = weights[classes], offsets[classes]
            said = torch.addmm(offsets, after, weights.T), change @ weights.T
            products.append(torch.stack(said, dim=1))
        # (n, layers, 2, k): what each product says of each candidate.
        every = torch.stack(products, dim=1)
        said_of = every.gather(3, places[:, None, None].expand(*every.shape[:3], -1))
        blocks = [torch.stack(flips, dim=1), class_contrast(said_of).flatten(2)]
        rows = torch.cat(blocks, dim=2).flatten(1)
        return torch.cat([rows, self._decisions(observation, again)], dim=1)

    def _decisions(self, observation: Observation, again: Observation) -> Tensor:
        """What becomes of the decision, ``(n, 4)``."""
        pair = observation.candidates[:, :2]
        before, after = observation.logits.gather(1, pair), again.logits.gather(1, pair)
        own, runner_up = (before - after).unbind(1)
        softmax = again.logits.softmax(1)
        moved = (softmax - observation.logits.softmax(1)).abs().sum(1)
        kept = softmax.gather(1, pair[:, :1]).squeeze(1)
        return torch.stack([own, own - runner_up, moved, torch.log(kept + 1e-6)], dim=1)
