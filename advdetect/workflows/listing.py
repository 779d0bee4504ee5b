"""What there is by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from advdetect import storage
from advdetect.attacks import ATTACKS, SUITES
from advdetect.attacks.base import Attack, eps_text
from advdetect.attacks.knowing import ADAPTIVE, EPS, KNOWING
from advdetect.checks import pick
from advdetect.data import DATASETS
from advdetect.detectors import DETECTORS
from advdetect.features import FEATURES
from advdetect.networks import models_folder
from advdetect.networks.loading import shipped_models
from advdetect.similarity import MEASURES


@dataclass(frozen=True)
class NameTable:
    """Names of one kind, with what there is to say of each."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def list_table(kind: str) -> NameTable:
    """List the names of one kind.

    Raises:
        InputError: no such kind.
    """
    return pick(KINDS, kind, "kind of names")()


def _network(architecture: Mapping[str, Any]) -> str:
    if architecture["kind"] != "ensemble":
        return str(architecture["name"])
    members = architecture["members"]
    return f"{len(members)} x {_network(members[0])}"


def _models() -> NameTable:
    rows: list[tuple[str, ...]] = []
    for name in shipped_models():
        folder = models_folder() / name
        card = storage.read_json(folder / "card.json")
        accuracy = f"{100 * card['test_accuracy']['value']:.2f} %"
        guarded = "yes" if (folder / "guard" / "guard.json").is_file() else "no"
        rows.append((name, _network(card["network"]), card["data"], accuracy, guarded))
    return NameTable(("model", "network", "trained on", "test accuracy", "guard"), tuple(rows))


def _attacks() -> NameTable:
    rows = ((name, a.norm, a.family, _kind(a)) for name, a in ATTACKS.items())
    knowing = ((name, a.norm, "knows the guard", "within eps") for name, a in KNOWING.items())
    return NameTable(("attack", "norm", "family", "perturbation"), (*rows, *knowing))


def _kind(attack: Attack) -> str:
    if attack.sizeless:
        return "change"
    if attack.control:
        return "noise"
    if attack.minimum_norm:
        return "smallest"
    return "within eps, then JPEG" if attack.encoded else "within eps"


def _suites() -> NameTable:
    rows = [(name, ", ".join(map(str, budgets))) for name, budgets in SUITES.items()]
    adaptive = f"{', '.join(ADAPTIVE)}; at {', '.join(map(eps_text, EPS['linf']))}"
    return NameTable(("suite", "attacks"), (*rows, ("adaptive", f"(--adaptive) {adaptive}")))


def _documented(title: str, table: Mapping[str, object]) -> Callable[[], NameTable]:
    def rows() -> NameTable:
        first = (
            (name, (thing.__doc__ or "").strip().split("\n")[0]) for name, thing in table.items()
        )
        return NameTable((title, "what it is"), tuple(first))

    return rows


_DATASETS = {
    "fashion-mnist": "embedded official test split; the training split for training alone",
    "digits": "8 x 8 digits that come with scikit-learn",
}


def _datasets() -> NameTable:
    rows = [
        (name, _DATASETS.get(name, "through torchvision, from --data-root")) for name in DATASETS
    ]
    rows += [("FOLDER", "one folder of pictures per class"), ("FILE.npz", "images and labels")]
    return NameTable(("data set", "what it is"), tuple(rows))


KINDS: Mapping[str, Callable[[], NameTable]] = {
    "models": _models,
    "datasets": _datasets,
    "attacks": _attacks,
    "suites": _suites,
    "detectors": _documented("detector", DETECTORS),
    "features": _documented("feature", FEATURES),
    "measures": _documented("measure", MEASURES),
}
