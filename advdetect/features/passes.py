"""How a model is asked about images: pass by pass, forth and, where a family asks, back."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from advdetect.errors import ModelError
from advdetect.features.base import Feature, Observation
from advdetect.features.recording import record
from advdetect.features.sensitivity import alignment, lead, removed_alignment
from advdetect.features.views import LOOKS, PLAIN, VIEWS, Look

BACK = 50  # images that a pass back is made for at once: it holds all that the pass forth made


@dataclass(frozen=True, eq=False)
class Passes:
    """What is asked of a model, and which of its units are kept.

    Attributes:
        units: For each layer, by name, the numbers of the units kept.
        looks: Names in ``LOOKS`` of the passes after the first.
        views: Names in ``VIEWS``; of these passes the logits are kept alone.
        means: Keep the mean output of each channel, too.
        gradient: Go back to the pixels from the picture, and from each look that removes detail.
    """

    units: Mapping[str, Tensor]
    looks: tuple[str, ...]
    views: tuple[str, ...]
    means: bool
    gradient: bool
    _places: dict[tuple[Look, str, torch.Size], Tensor] = field(default_factory=dict, init=False)

    @classmethod
    def for_features(
        cls, units: Mapping[str, Tensor], looks: tuple[str, ...], features: Collection[Feature]
    ) -> "Passes":
        """The passes that some families ask for together."""
        return cls(
            units,
            looks,
            tuple(dict.fromkeys(name for feature in features for name in feature.needs_views)),
            means=any(feature.needs_means for feature in features),
            gradient=any(feature.needs_gradient for feature in features),
        )

    def observe(self, model: nn.Module, images: Tensor, sharpness: float | None) -> Observation:
        """Make every pass; see ``FeatureExtractor.observe``."""
        if self.gradient and sharpness is None and len(images) > BACK:
            return join([self.observe(model, part, None) for part in images.split(BACK)])
        with torch.set_grad_enabled(sharpness is not None):
            views = {name: model(VIEWS[name](images)) for name in self.views}
            seen = self._look(model, images, sharpness, PLAIN)
            again = tuple(
                self._look(model, images, sharpness, LOOKS[name], seen.predicted)
                for name in self.looks
            )
        seen = replace(seen, views=views, again=again)
        # A model may ask for gradients by itself.
        return seen.truth() if sharpness is None else seen

    def _look(
        self,
        model: nn.Module,
        images: Tensor,
        sharpness: float | None,
        look: Look,
        predicted: Tensor | None = None,
    ) -> Observation:
        """One look, in one pass or in two."""
        if self.gradient and (look is PLAIN or look.removes_detail):
            return self._there_and_back(model, images, sharpness, look, predicted)
        return self._pass(model, look.change(images), sharpness, look)

    def _there_and_back(
        self,
        model: nn.Module,
        images: Tensor,
        sharpness: float | None,
        look: Look,
        predicted: Tensor | None,
    ) -> Observation:
        """One recorded pass, and one back to the pixels that the model saw.

        Another look is asked of the class ``predicted`` of the picture itself: that is the class
        whose lead an attack has raised, also where the look undoes it.
        """
        attacked = sharpness is not None
        # What was made in inference mode cannot be differentiated; a copy made outside it can.
        with torch.inference_mode(False), torch.enable_grad():
            follow = attacked and images.requires_grad
            pixels = images if follow else images.detach().clone().requires_grad_()
            shown = look.change(pixels)
            # Other kernels of attention cannot be differentiated twice.
            with sdpa_kernel(SDPBackend.MATH) if attacked else nullcontext():
                seen = self._pass(model, shown, sharpness, look, slopes=sharpness)
            gradient = None
            if seen.logits.requires_grad:
                # Cloned, as what was made in inference mode cannot be kept for a pass back.
                own = seen.predicted if predicted is None else predicted.clone()
                leads = lead(seen.logits, own)
                (gradient,) = torch.autograd.grad(
                    leads.sum(), shown, create_graph=attacked, allow_unused=True
                )
            if gradient is None:
                raise ModelError(
                    "the model passes no gradient back to its images, which the option gradient "
                    "needs: remove detach, no_grad or argmax from its forward, or fit without it"
                )
            if look is PLAIN:
                found = alignment(wide(pixels), wide(gradient))
            else:
                found = removed_alignment(wide(pixels) - wide(shown), wide(gradient))
            seen = replace(seen, alignment=found)
            return seen if attacked else seen.truth()

    def _pass(
        self,
        model: nn.Module,
        shown: Tensor,
        sharpness: float | None,
        look: Look,
        *,
        slopes: float | None = None,
    ) -> Observation:
        """One recorded pass, with smooth slopes where its gradient is differentiated in turn."""

        def keep(layer: str, pre_activation: Tensor) -> Tensor:
            return self._keep(layer, pre_activation, look)

        with record(model, list(self.units), keep=keep, sharpness=slopes) as recording:
            logits = wide(model(shown))
        if not torch.isfinite(logits.detach()).all():
            broken = (~torch.isfinite(logits.detach()).all(1)).nonzero().squeeze(1).tolist()
            raise ModelError(
                f"the model's logits are not finite for {len(broken)} of {len(logits)} images, "
                f"the first of them number {broken[0]}: nothing can be said of those"
            )
        kept, means = dict(recording.activations), {}
        if self._keeps_means(look):
            for name, both in kept.items():
                units = len(self.units[name])
                kept[name], means[name] = both[:, :units], both[:, units:]
        return Observation(logits, kept, sharpness, means)

    def _keep(self, layer: str, pre_activation: Tensor, look: Look) -> Tensor:
        # Units are looked up where they now are: to turn whole maps back costs far more.
        places = self._places_of(layer, pre_activation.shape[1:], look)
        # Not index_select: that keeps to one thread.
        units = wide(pre_activation).flatten(1).gather(1, places.expand(len(pre_activation), -1))
        if not self._keeps_means(look):
            return units
        # The second axis holds channels, in convolutions as in vectors.
        outputs = wide(pre_activation).relu()
        means = outputs if outputs.ndim == 2 else outputs.flatten(2).mean(2)
        return torch.cat([units, means], dim=1)

    def _places_of(self, layer: str, shape: torch.Size, look: Look) -> Tensor:
        """Where a layer's units lie in a look's map of one picture, found once."""
        key = look, layer, shape
        if key not in self._places:
            # What is made in inference mode could not be kept for a pass back, later.
            with torch.inference_mode(False):
                self._places[key] = look.places(self.units[layer], shape)
        return self._places[key]

    def _keeps_means(self, look: Look) -> bool:
        """Whether means are kept, which no family asks of another look."""
        return self.means and look is PLAIN


def wide(values: Tensor) -> Tensor:
    """In single precision where a model computes in half: features do not."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def join(observations: Sequence[Observation]) -> Observation:
    """The observations of parts as one of the whole."""

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
        again=tuple(map(join, again)),
        alignment=torch.cat(alignments) if alignments else None,
    )
