"""From images to feature rows: one recorded forward pass, then every family in turn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from advdetect.checks import pick
from advdetect.errors import InputError, ModelError
from advdetect.features.base import Feature, Observation
from advdetect.features.recording import record
from advdetect.features.sensitivity import alignment, lead, removed_alignment
from advdetect.features.tables import DEFAULT, FEATURES, OF_ENSEMBLES, OF_GRADIENT, OF_MORE_PASSES
from advdetect.features.views import LOOKS, VIEWS, Look
from advdetect.networks.ensemble import member_of

UNITS = 2048
BATCH = 250
BACK = 50  # images that a pass back is made for at once: it holds all that the pass forth made
TRIED = 500  # reference images that choose the looks

Track = Callable[[Sequence[Tensor], str], Iterable[Tensor]]


def untracked(items: Sequence[Tensor], _description: str) -> Iterable[Tensor]:
    """Show no progress."""
    return items


@dataclass(frozen=True)
class Column:
    """What one column of a feature row means."""

    family: str
    layer: str
    meaning: str


@final
class FeatureExtractor:
    """Learns what clean inputs look like in every layer, then describes inputs by it.

    Args:
        units: For each layer, by name and in order, which of its units are looked at.
        features: The families, by name, fitted or about to be.
        looks: Names in ``LOOKS`` of the passes after the first, where a family asks for them.
    """

    def __init__(
        self,
        units: Mapping[str, Tensor],
        features: Mapping[str, Feature],
        looks: Sequence[str] = (),
    ) -> None:
        self.units = dict(units)
        self.features = dict(features)
        self.looks = tuple(looks)

    @classmethod
    def fit(
        cls,
        model: nn.Module,
        images: Tensor,
        *,
        families: Sequence[str] | None = None,
        passes: int = 1,
        gradient: bool = False,
        units: int = UNITS,
        seed: int = 0,
        track: Track = untracked,
    ) -> Self:
        """Learn from clean reference images; classes are the model's predictions.

        Args:
            model: In evaluation mode, on the device of the images.
            images: ``(n, c, h, w)`` clean pixels in [0, 1].
            families: Names in ``FEATURES``; ``DEFAULT`` by default, and ``OF_ENSEMBLES``.
            passes: Above 1 the model looks at every picture again, changed in one way a pass:
                those of ``LOOKS`` that change its predictions least on the reference images.
                Families that are named and ask for more than one are given 2 at least.
            gradient: Ask the model, too, how its decision answers to each picture's detail, by
                a pass back; families that are named say themselves whether they need it.
            units: Cap of units, so of bits, per layer. The units are chosen once, by ``seed``,
                and kept. The price per layer and input falls in proportion; on the shipped
                Fashion-MNIST network, whose widest layers have 12,544 units, 1,024 instead
                of 2,048 cost about 3 points of detection at 5 % false alarms on the worst
                attack, in a development trial on reference images.
            seed: Chooses the units.
            track: Wraps the batches to show progress.

        Raises:
            InputError: more passes than there are looks, or none.
            ModelError: the model has no ReLU-family call, or none with a row per input; or it
                passes no gradient back to its images, and that was asked for.
        """
        if passes not in range(1, 2 + len(LOOKS)):
            raise InputError(f"passes must be 1 to {1 + len(LOOKS)}, got {passes}")
        chosen, classes = _choose_units(model, images[:2], units, seed)
        layers = tuple(chosen)
        if families is None:
            several = len({member_of(layer) for layer in layers}) > 1
            families = DEFAULT + (OF_ENSEMBLES if several else ())
            families += OF_MORE_PASSES if passes > 1 else ()
            families += OF_GRADIENT if gradient else ()
        kinds = {name: pick(FEATURES, name, "feature") for name in families}
        looks: tuple[str, ...] = ()
        if any(kind.needs_again for kind in kinds.values()):
            looks = _calmest(model, images)[: max(1, passes - 1)]
        features = {name: kind(classes, layers, looks) for name, kind in kinds.items()}
        extractor = cls(chosen, features, looks)
        reference = _join(
            [extractor.observe(model, batch) for batch in track(images.split(BATCH), "reference")]
        )
        for feature in features.values():
            feature.fit(reference)
        return extractor

    @property
    def columns(self) -> list[Column]:
        """Family, layer and meaning of each column of a row."""
        return [
            Column(family, layer, meaning)
            for family, feature in self.features.items()
            for layer, meaning in feature.columns
        ]

    def observe(
        self, model: nn.Module, images: Tensor, *, sharpness: float | None = None
    ) -> Observation:
        """Put images through the model, and keep the chosen units of each layer.

        Without ``sharpness`` no gradients are kept; with it they flow from rows to images. A
        family that asks for views costs a pass more for each, one that asks for the gradient
        about as much, and again for each look that removes detail: without ``sharpness`` for
        ``BACK`` images at a time, with it for all.
        """
        if self._gradient and sharpness is None and len(images) > BACK:
            return _join([self.observe(model, part) for part in images.split(BACK)])
        with torch.set_grad_enabled(sharpness is not None):
            views = {name: model(VIEWS[name](images)) for name in self._views}
            forth = self._observe_both_ways if self._gradient else self._observe
            seen = forth(model, images, sharpness)
            again = tuple(
                self._observe_both_ways(model, images, sharpness, look, seen.predicted)
                if self._gradient and look.removes_detail
                else self._observe(model, look.change(images), sharpness, look.back)
                for look in map(LOOKS.__getitem__, self.looks)
            )
        return replace(seen, views=views, again=again)

    def _observe(
        self,
        model: nn.Module,
        images: Tensor,
        sharpness: float | None,
        back: Callable[[Tensor], Tensor] | None = None,
        *,
        smooth: float | None = None,
    ) -> Observation:
        """One recorded pass, with smooth slopes where its gradient is differentiated in turn."""

        def keep(layer: str, pre_activation: Tensor) -> Tensor:
            return self._keep(layer, pre_activation if back is None else back(pre_activation))

        with record(model, list(self.units), keep=keep, sharpness=smooth) as recording:
            logits = model(images)
        kept, means = dict(recording.activations), {}
        if self._means:
            for name, both in kept.items():
                units = len(self.units[name])
                kept[name], means[name] = both[:, :units], both[:, units:]
        return Observation(logits, kept, sharpness, means)

    def _observe_both_ways(
        self,
        model: nn.Module,
        images: Tensor,
        sharpness: float | None,
        look: Look | None = None,
        predicted: Tensor | None = None,
    ) -> Observation:
        """One recorded pass, and one back to the pixels that the model saw."""
        attacked = sharpness is not None
        # What was made in inference mode cannot be differentiated; a copy made outside it can.
        with torch.inference_mode(False), torch.enable_grad():
            follow = attacked and images.requires_grad
            pixels = images if follow else images.detach().clone().requires_grad_()
            shown = pixels if look is None else look.change(pixels)
            back = None if look is None else look.back
            # Other kernels of attention cannot be differentiated twice.
            with sdpa_kernel(SDPBackend.MATH) if attacked else nullcontext():
                seen = self._observe(model, shown, sharpness, back, smooth=sharpness)
            gradient = None
            if seen.logits.requires_grad:
                leads = lead(seen.logits, seen.predicted if predicted is None else predicted)
                (gradient,) = torch.autograd.grad(
                    leads.sum(), shown, create_graph=attacked, allow_unused=True
                )
            if gradient is None:
                raise ModelError(
                    "the model passes no gradient back to its images, which the option gradient "
                    "needs: remove detach, no_grad or argmax from its forward, or fit without it"
                )
            if look is None:
                found = alignment(pixels, gradient)
            else:
                found = removed_alignment(pixels - shown, gradient)
            seen = replace(seen, alignment=found)
            return seen if attacked else seen.truth()

    @cached_property
    def _gradient(self) -> bool:
        return any(feature.needs_gradient for feature in self.features.values())

    @cached_property
    def _means(self) -> bool:
        return any(feature.needs_means for feature in self.features.values())

    @cached_property
    def _views(self) -> tuple[str, ...]:
        wanted = [name for feature in self.features.values() for name in feature.needs_views]
        return tuple(dict.fromkeys(wanted))

    def _keep(self, layer: str, pre_activation: Tensor) -> Tensor:
        units = pre_activation.flatten(1).index_select(1, self.units[layer])
        if not self._means:
            return units
        # The second axis holds channels, in convolutions as in vectors.
        outputs = pre_activation.relu()
        means = outputs if outputs.ndim == 2 else outputs.flatten(2).mean(2)
        return torch.cat([units, means], dim=1)

    def rows(self, observation: Observation) -> Tensor:
        """Describe inputs: ``(n, len(columns))``, each row by its own input alone."""
        return torch.cat([f.rows(observation) for f in self.features.values()], dim=1)

    def to(self, device: torch.device | str) -> "FeatureExtractor":
        """Move what was learnt to a device."""
        units = {k: v.to(device) for k, v in self.units.items()}
        moved = FeatureExtractor(units, {}, self.looks)
        for name, feature in self.features.items():
            state = {key: value.to(device) for key, value in feature.state.items()}
            moved.features[name] = type(feature)(feature.classes, feature.layers, self.looks).load(
                state
            )
        return moved

    def config(self) -> dict[str, Any]:
        """What ``load`` needs beside the tensors: plain JSON."""
        classes = next(iter(self.features.values())).classes
        found = {"classes": classes, "layers": list(self.units), "families": list(self.features)}
        return found | ({"looks": list(self.looks)} if self.looks else {})

    def tensors(self) -> dict[str, Tensor]:
        """Everything learnt, by name."""
        kept = {f"units/{layer}": index for layer, index in self.units.items()}
        for family, feature in self.features.items():
            kept |= {f"{family}/{key}": value for key, value in feature.state.items()}
        return kept

    @classmethod
    def load(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Make an extractor again from ``config`` and ``tensors``."""
        layers = tuple(config["layers"])
        kinds = {name: pick(FEATURES, name, "feature") for name in config["families"]}
        looks: tuple[str, ...] = ()
        if any(kind.needs_again for kind in kinds.values()):
            looks = tuple(config["looks"])
        for look in looks:
            pick(LOOKS, look, "look")
        features: dict[str, Feature] = {}
        for family, kind in kinds.items():
            state = {
                key.partition("/")[2]: value
                for key, value in tensors.items()
                if key.partition("/")[0] == family
            }
            features[family] = kind(int(config["classes"]), layers, looks).load(state)
        units = {layer: tensors[f"units/{layer}"] for layer in layers}
        return cls(units, features, looks)


def _choose_units(
    model: nn.Module, images: Tensor, cap: int, seed: int
) -> tuple[dict[str, Tensor], int]:
    """Choose units of every layer, and count the classes."""
    with torch.no_grad(), record(model) as recording:
        classes = model(images).shape[1]
        activations = recording.activations
    generator = torch.Generator().manual_seed(seed)
    chosen: dict[str, Tensor] = {}
    for name, activation in activations.items():
        # A layer that mixes the inputs, such as one over all patches of a batch, has no rows.
        if len(activation) != len(images) or activation.ndim < 2:
            continue
        order = torch.randperm(activation[0].numel(), generator=generator)[:cap]
        chosen[name] = order.sort().values.to(images.device)
    if not chosen:
        raise ModelError("no layer of the model has one row of activations per input")
    return chosen, classes


def _calmest(model: nn.Module, images: Tensor) -> tuple[str, ...]:
    """Name the looks by how many of its predictions the model keeps under them, most first."""
    some = images[:: max(1, len(images) // TRIED)]

    def predictions(change: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([model(change(batch)).argmax(1) for batch in some.split(BATCH)])

    with torch.no_grad():
        own = predictions(lambda batch: batch)
        kept = {name: int((predictions(LOOKS[name].change) == own).sum()) for name in LOOKS}
    return tuple(sorted(LOOKS, key=lambda name: -kept[name]))


def _join(observations: Sequence[Observation]) -> Observation:
    def joined(name: str) -> dict[str, Tensor]:
        parts: list[Mapping[str, Tensor]] = [getattr(o, name) for o in observations]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    logits = torch.cat([o.logits for o in observations])
    again = zip(*(o.again for o in observations), strict=True)
    alignments = [o.alignment for o in observations if o.alignment is not None]
    return Observation(
        logits,
        joined("layers"),
        means=joined("means"),
        views=joined("views"),
        again=tuple(map(_join, again)),
        alignment=torch.cat(alignments) if alignments else None,
    )
