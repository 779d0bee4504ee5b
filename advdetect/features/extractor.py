"""From images to feature rows: recorded passes of the model, then every family in turn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from advdetect.checks import check_logits, pick
from advdetect.errors import InputError, ModelError
from advdetect.features.base import Feature, Observation
from advdetect.features.passes import Passes, join
from advdetect.features.recording import record
from advdetect.features.tables import DEFAULT, FEATURES, OF_ENSEMBLES, OF_GRADIENT, OF_MORE_PASSES
from advdetect.features.views import LOOKS
from advdetect.networks.ensemble import member_of

UNITS = 2048
BATCH = 250
LARGEST = 6e4  # what half precision holds, in which rows are kept
TRIED = 500  # reference images that choose the looks

Track = Callable[[Sequence[Tensor], str], Iterable[Tensor]]


def untracked(items: Sequence[Tensor], _description: str) -> Iterable[Tensor]:
    """Show no progress."""
    return items


@dataclass(frozen=True)
class Column:
    """What one column of a feature row means.

    Attributes:
        family: Name of the family of features.
        layer: What it looks at; empty for none.
        meaning: In words.
        counted: A distance from clean rows counts it: with more than one pass, or a gradient,
            columns of the decision alone, else all.
        rising: Attacks raise it, and noise does not.
    """

    family: str
    layer: str
    meaning: str
    counted: bool
    rising: bool


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
                a pass back, and another where a look removes detail; families that are named say
                themselves whether they need it.
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
        chosen, classes = _choose_units(model, images[:3], units, seed)
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
        reference = join(
            [extractor.observe(model, batch) for batch in track(images.split(BATCH), "reference")]
        )
        for feature in features.values():
            feature.fit(reference)
        return extractor

    @property
    def columns(self) -> list[Column]:
        """What each column of a row means."""
        asked_more = any(
            f.of_decision and (f.needs_again or f.needs_gradient) for f in self.features.values()
        )
        return [
            Column(family, layer, meaning, feature.of_decision or not asked_more, rising)
            for family, feature in self.features.items()
            for (layer, meaning), rising in zip(feature.columns, feature.rising, strict=True)
        ]

    def observe(
        self, model: nn.Module, images: Tensor, *, sharpness: float | None = None
    ) -> Observation:
        """Put images through the model, and keep the chosen units of each layer.

        Without ``sharpness`` no gradients are kept; with it they flow from rows to images. A
        family that asks for views costs a pass more for each, one that asks for the gradient
        about as much, and again for each look that removes detail: without ``sharpness`` for
        ``passes.BACK`` images at a time, with it for all.
        """
        return self._passes.observe(model, images, sharpness)

    @cached_property
    def _passes(self) -> Passes:
        return Passes.for_features(self.units, self.looks, self.features.values())

    def rows(self, observation: Observation) -> Tensor:
        """Describe inputs: ``(n, len(columns))``, each row by its own input alone."""
        # Autocast around a guard is meant for its model: sums over units would lose their digits.
        with torch.autocast(observation.logits.device.type, enabled=False):
            rows = torch.cat([f.rows(observation) for f in self.features.values()], dim=1)
        return rows.clamp(-LARGEST, LARGEST)

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
        logits = model(images)
        check_logits(logits)
        if logits.dtype == torch.float64:
            raise ModelError("the model computes in double precision: give model.float()")
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
    return chosen, logits.shape[1]


def _calmest(model: nn.Module, images: Tensor) -> tuple[str, ...]:
    """Name the looks by how many of its predictions the model keeps under them, most first."""
    some = images[:: max(1, len(images) // TRIED)]

    def predictions(change: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([model(change(batch)).argmax(1) for batch in some.split(BATCH)])

    with torch.no_grad():
        own = predictions(lambda batch: batch)
        kept = {name: int((predictions(LOOKS[name].change) == own).sum()) for name in LOOKS}
    return tuple(sorted(LOOKS, key=lambda name: -kept[name]))
