"""Find adversarial inputs by how a network's layers represent them.

The names here are imported on first use: torch costs seconds, and ``advdetect --help`` is not
to wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advdetect.attacks import attack
    from advdetect.features import record
    from advdetect.guard import Guard
    from advdetect.networks import Ensemble
    from advdetect.workflows import evaluate

__all__ = ["Ensemble", "Guard", "attack", "evaluate", "record"]

_HOMES = {
    "Ensemble": "advdetect.networks",
    "Guard": "advdetect.guard",
    "attack": "advdetect.attacks",
    "evaluate": "advdetect.workflows",
    "record": "advdetect.features",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'advdetect' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
