"""What a forward pass shows of an input, and what every family of features promises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from advdetect.networks.ensemble import member_of

# An input is compared with the classes of its highest logits alone, so that the price does not
# grow with the number of classes.
CANDIDATES = 10


@dataclass(frozen=True, eq=False)
class Observation:
    """One forward pass of ``n`` inputs, as far as features look at it.

    Attributes:
        logits: ``(n, classes)``.
        layers: Pre-activations ``(n, units)`` of the chosen units of each layer, in order.
        sharpness: ``None`` for true bits. A number replaces the step from 0 to 1 by a sigmoid
            of this steepness, in units of the layer's mean magnitude, so that gradients flow;
            ``alignment`` has then been through slopes as smooth.
        means: Mean output ``(n, channels)`` of each channel of a layer, where a family asks.
        views: Logits of the same inputs looked at otherwise, by ``VIEWS``, where a family asks.
        again: Passes of the same inputs, changed in ways that keep their class, where a family
            asks; their units are those of the first pass, at the same place of the picture.
        alignment: ``(n, k)`` how the gradient of the decision lies along the picture's detail,
            or along what the look removed of it, where a family asks.
    """

    logits: Tensor
    layers: Mapping[str, Tensor]
    sharpness: float | None = None
    means: Mapping[str, Tensor] = field(default_factory=dict)
    views: Mapping[str, Tensor] = field(default_factory=dict)
    again: tuple["Observation", ...] = ()
    alignment: Tensor | None = None

    def truth(self) -> "Observation":
        """The same pass with true bits, and without gradients; ``alignment`` stays what it is."""
        layers, means, views = (
            {name: part.detach() for name, part in parts.items()}
            for parts in (self.layers, self.means, self.views)
        )
        again = tuple(seen.truth() for seen in self.again)
        alignment = None if self.alignment is None else self.alignment.detach()
        return Observation(self.logits.detach(), layers, None, means, views, again, alignment)

    @property
    def predicted(self) -> Tensor:
        """``(n,)`` class of the highest logit."""
        return self.candidates[:, 0]

    @property
    def runner_up(self) -> Tensor:
        """``(n,)`` class of the second highest logit."""
        return self.candidates[:, 1]

    @cached_property
    def candidates(self) -> Tensor:
        """``(n, k)`` the ``CANDIDATES`` likeliest classes, all where there are fewer, in order."""
        return self.logits.detach().topk(min(CANDIDATES, self.logits.shape[1]), dim=1).indices

    @cached_property
    def searched(self) -> tuple[Tensor | None, Tensor]:
        """Classes that are a candidate of any input, and the candidates' places among them.

        The classes are ``None`` where every class is a candidate: then nothing is to be chosen,
        and a candidate's place is its class.
        """
        if self.candidates.shape[1] == self.logits.shape[1]:
            return None, self.candidates
        return self.candidates.unique(return_inverse=True)

    @cached_property
    def on(self) -> dict[str, Tensor]:
        """Bits ``(n, units)`` of each layer as bools, whatever the sharpness."""
        return {name: _positive(z.detach()) for name, z in self.layers.items()}

    @cached_property
    def bits(self) -> dict[str, Tensor]:
        """Bits ``(n, units)`` of each layer as floats, 1 where the pre-activation is > 0."""
        if self.sharpness is None:
            # From bools torch converts eight times slower than from the same bytes as uint8.
            return {
                name: on.view(torch.uint8).to(self.layers[name].dtype)
                for name, on in self.on.items()
            }
        return {
            name: torch.sigmoid(self.sharpness * z / (z.detach().abs().mean() + 1e-12))
            for name, z in self.layers.items()
        }

    @cached_property
    def thinned(self) -> dict[str, Tensor]:
        """Every second unit of each layer: half of the price, hardly a change."""
        return {name: z[:, ::2].contiguous() for name, z in self.layers.items()}


def _positive(z: Tensor) -> Tensor:
    if z.device.type != "cpu" or z.dtype == torch.bfloat16:
        return z > 0
    return torch.from_numpy(z.numpy() > 0)  # eight times as fast as torch's comparison


class Feature(ABC):
    """A family of features: learns from clean reference inputs, then describes new ones.

    A row depends on its own input alone. Subclasses write ``_fit``, ``_columns`` and ``_rows``,
    ``_prepare`` where something is better derived once than for every batch, and ``_rising`` where
    columns can be told to rise; what they learn goes into ``state``, tensors by name, which is all
    that is saved.

    Args:
        classes: Number of the model's classes.
        layers: Names of the layers, in order.
        looks: Names in ``LOOKS`` of the passes after the first.

    Attributes:
        needs_means: It looks at ``Observation.means``.
        needs_views: Names in ``VIEWS``; each costs another pass of the model.
        needs_again: It looks at ``Observation.again``, one more pass or several.
        needs_gradient: It looks at ``Observation.alignment``, one pass back through the model,
            and one more for each look that removes detail.
        of_decision: It describes the decision, and what another look or the gradient says of it,
            not where the layers place the picture, in which clean pictures of a class differ most.
    """

    needs_means: ClassVar[bool] = False
    needs_again: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = False
    needs_views: ClassVar[tuple[str, ...]] = ()
    of_decision: ClassVar[bool] = False

    def __init__(self, classes: int, layers: tuple[str, ...], looks: tuple[str, ...] = ()) -> None:
        self.classes = classes
        self.layers = layers
        self.looks = looks
        self.state: dict[str, Tensor] = {}

    @final
    def fit(self, reference: Observation) -> Self:
        """Learn from clean inputs; forgets the last fit."""
        self.state = {}
        self._fit(reference)
        self._prepare()
        return self

    @final
    def load(self, state: Mapping[str, Tensor]) -> Self:
        """Take up what an earlier fit learnt."""
        self.state = dict(state)
        self._prepare()
        return self

    @final
    @property
    def columns(self) -> list[tuple[str, str]]:
        """Layer (empty for none) and meaning of each column, in order."""
        return self._columns()

    @final
    @property
    def rising(self) -> list[bool]:
        """Which columns attacks raise, and noise raises as often as it lowers, in order."""
        return [self._rising(meaning) for _, meaning in self.columns]

    @final
    def rows(self, observation: Observation) -> Tensor:
        """Describe inputs: ``(n, len(columns))``."""
        return self._rows(observation)

    @abstractmethod
    def _fit(self, reference: Observation) -> None: ...

    def _prepare(self) -> None:  # noqa: B027 (optional)
        """Derive from ``state`` what every batch needs."""

    @abstractmethod
    def _columns(self) -> list[tuple[str, str]]: ...

    def _rising(self, meaning: str) -> bool:
        return False

    @abstractmethod
    def _rows(self, observation: Observation) -> Tensor: ...


CONTRAST = ("own", "other", "own minus other", "own minus runner-up")


def class_contrast(similarity: Tensor) -> Tensor:
    """From similarity to every candidate class to how the predicted class stands out.

    Args:
        similarity: ``(..., k)`` to each of an observation's ``candidates``.

    Returns:
        ``(..., 4)``, the columns of ``CONTRAST``: similarity to the predicted class, to the best
        other candidate, their difference, and the difference to the class of the second highest
        logit, which for an adversarial input is often the true one.
    """
    own, runner_up, others = similarity[..., :1], similarity[..., 1:2], similarity[..., 1:]
    other = others.amax(-1, keepdim=True)
    return torch.cat([own, other, own - other, own - runner_up], dim=-1)


def block_ends(layers: tuple[str, ...]) -> tuple[str, ...]:
    """Every second layer, counted from the last: the ends of blocks in a residual network.

    Of an ensemble those of each member.
    """
    ends: list[str] = []
    for _, own in groupby(layers, member_of):
        member = list(own)
        ends += member[(len(member) - 1) % 2 :: 2]
    return tuple(ends)


def choose_landmarks(predicted: Tensor, classes: int, per_class: int) -> tuple[Tensor, Tensor]:
    """Choose the first ``per_class`` reference rows of each predicted class.

    Returns:
        ``(m,)`` row numbers grouped by class, and ``(m,)`` the class of each.
    """
    rows = [(predicted == c).nonzero().squeeze(1)[:per_class] for c in range(classes)]
    chosen = torch.cat(rows)
    return chosen, predicted[chosen]
