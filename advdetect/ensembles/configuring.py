"""How members are trained: one description, from options or a TOML file."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, final

from advdetect.checks import pick
from advdetect.ensembles.adversaries import ADVERSARIES
from advdetect.ensembles.optimizers import OPTIMIZERS
from advdetect.ensembles.penalties import PENALTIES
from advdetect.errors import FileError, InputError

AGAINST = ("all", "predecessors")
PRECISIONS = ("float32", "bfloat16")


@final
@dataclass(frozen=True)
class TrainingConfig:
    """All that decides what comes out of training, the images apart.

    Attributes:
        network: A name in ``NETWORKS``, or ``package.module:factory``.
        arguments: Of a network in the table, such as ``width``.
        members: How many networks.
        penalty: A name in ``PENALTIES``; ``None`` trains members that do not know of each other.
        weight: Of the penalty, beside the members' cross-entropies; with ``given``, of what is
            to be known beyond the given model.
        layers: What the penalty compares, as for ``find_layers``; empty: as the penalty says.
        against: ``all`` pairs move both members; ``predecessors``: the later one alone moves,
            as in the paper's chain.
        adversarial: A name in ``ADVERSARIES``; ``None`` trains on clean images.
        eps: Linf budget of the examples, in pixels.
        steps: Of crafting them; ``None``: as the adversary says.
        stride: Of such a step, as a share of eps; ``None``: as the adversary says.
        clean_share: Of every batch, left as it is.
        beta: Weight of the smoothing loss of ``trades``.
        given: A model's name; the network learns the labels beyond what that model knows.
        start: A trained model's name: its architecture and weights, on which to train on;
            ``network`` and ``arguments`` need not be said. Of several: the mean of their weights.
        epochs: Passes over the images; 0, with a start, leaves it as it is.
        batch: Images a step, over all processes.
        optimizer: A name in ``OPTIMIZERS``: ``sgd`` with Nesterov momentum .9, or ``muon`` for
            kernels of convolutions and ``sgd`` for the rest.
        learning_rate: Peak of one cycle.
        warm_up: Share of all steps in which the learning rate rises.
        weight_decay: Of ``sgd``.
        ema: Decay a step of the exponential moving average of the weights that training ends with,
            BatchNorm's statistics among them; 0: it ends with the last weights.
        label_smoothing: Share of the label spread over all classes.
        shift: Pictures are moved by up to so many pixels.
        mirror: Half of the pictures are mirrored.
        alternate: Which half is not drawn anew in every epoch: what was mirrored in one is not in
            the next.
        noise: Largest deviation of Gaussian noise on the pictures.
        cutout: Side of a black square somewhere on each picture; 0: none.
        precision: Of the members' passes: ``float32`` or ``bfloat16``.
        seed: Of initial weights, order, changes of pictures and starts of attacks.

    Raises:
        InputError: a value out of range, or two that contradict each other.
    """

    network: str = "resnet"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1
    penalty: str | None = None
    weight: float = 1.0
    layers: tuple[str, ...] = ()
    against: str = "all"
    adversarial: str | None = None
    eps: float = 8 / 255
    steps: int | None = None
    stride: float | None = None
    clean_share: float = 0.0
    beta: float = 6.0
    given: str | None = None
    start: tuple[str, ...] = ()
    epochs: int = 18
    batch: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.2
    warm_up: float = 0.25
    weight_decay: float = 5e-4
    ema: float = 0.0
    label_smoothing: float = 0.0
    shift: int = 2
    mirror: bool = True
    alternate: bool = False
    noise: float = 0.0
    cutout: int = 0
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.penalty is not None:
            pick(PENALTIES, self.penalty, "penalty")
        if self.adversarial is not None:
            pick(ADVERSARIES, self.adversarial, "adversary")
        pick(dict.fromkeys(OPTIMIZERS), self.optimizer, "optimizer")
        pick(dict.fromkeys(AGAINST), self.against, "way to compare members")
        pick(dict.fromkeys(PRECISIONS), self.precision, "precision")
        for name in ("layers", "start"):
            value = getattr(self, name)
            if isinstance(value, str):  # a sequence of letters, otherwise
                raise InputError(f"expected a tuple of names for {name}, got {value!r}")
        epochs = 0 if self.start else 1
        at_least = dict(members=1, epochs=epochs, batch=1, shift=0, cutout=0, seed=0)
        if self.steps is not None:
            at_least["steps"] = 1
        for name, lowest in at_least.items():
            value = getattr(self, name)
            if value < lowest:
                raise InputError(f"{name} must be at least {lowest}, got {value}")
        for name in ("weight", "eps", "stride", "beta", "learning_rate", "weight_decay", "noise"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be finite and not negative, got {value}")
        for name in ("clean_share", "ema", "label_smoothing", "warm_up"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise InputError(f"{name} must be at least 0 and below 1, got {value}")
        if self.alternate and not self.mirror:
            raise InputError("alternate says which pictures are mirrored, and mirror is false")
        if self.penalty is not None and self.members < 2:
            raise InputError(
                f"the penalty {self.penalty} compares members: train at least 2, got {self.members}"
            )
        crafting = self.steps is not None or self.stride is not None or self.clean_share > 0
        if self.adversarial is None and crafting:
            raise InputError("steps, stride and clean_share are of adversarial training: name one")
        if self.given is not None and (self.members > 1 or self.penalty is not None):
            raise InputError("a given model conditions one network: no more members, no penalty")
        if self.layers and self.penalty is None and self.given is None:
            raise InputError("layers are what a penalty compares: name a penalty")

    @classmethod
    def of(cls, values: Mapping[str, Any], source: str) -> Self:
        """Build from names and values as TOML has them; hyphens count as underscores.

        Args:
            values: By name; what is missing keeps its default.
            source: Where they come from, for messages.

        Raises:
            InputError: an unknown name, or a value of another type or out of range.
        """
        return cls(**_checked(values, source))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, from which ``of`` builds it again."""
        return asdict(self) | {"layers": list(self.layers), "arguments": dict(self.arguments)}


def assign(values: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Add values written ``name=value`` or ``arguments.name=value`` to those for ``of``.

    Raises:
        InputError: a text of another form, an unknown name, or a value of another type.
    """
    found = _checked(values, "options")
    for text in texts:
        name, equals, written = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"expected name=value, got {text!r}")
        try:
            value = tomllib.loads(f"value = {written}")["value"]
        except tomllib.TOMLDecodeError:
            value = written.strip()  # text without quotation marks
        table, dot, inner = name.strip().partition(".")
        if dot and table == "arguments":
            name, value = table, {**found.get(table, {}), inner: value}
        found |= _checked({name.strip(): value}, text)
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileError: it is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"no file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no TOML: {error}") from None


def _checked(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    known = {
        f.name: f.type.__name__ if type(f.type) is type else str(f.type)
        for f in fields(TrainingConfig)
    }
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise InputError(f"{source}: unknown key {key!r}, known are: {', '.join(known)}")
        found[name] = _converted(name, value, known[name], source)
    return found


def _converted(name: str, value: Any, kind: str, source: str) -> Any:
    """Bring a value to a field's type, which is written as in the class above."""
    if value is None and "None" in kind:
        return None
    kind = kind.removesuffix(" | None")
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "float" and (whole or isinstance(value, float)):
        return float(value)
    if kind == "int" and whole:
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "str" and isinstance(value, str):
        return value
    if kind.startswith("tuple") and isinstance(value, str | list | tuple):
        return (value,) if isinstance(value, str) else tuple(str(part) for part in value)
    if "Mapping" in kind and isinstance(value, Mapping):
        return dict(value)
    words = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
    wanted = words.get(kind, "a table" if "Mapping" in kind else "a list of names")
    raise InputError(f"{source}: expected {wanted} for {name}, got {value!r}")
