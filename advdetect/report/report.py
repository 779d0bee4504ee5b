"""What an evaluation found: the content of report.json, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advdetect.metrics import Estimate

SCHEMA = 1
ALPHAS = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class FalseAlarms:
    """Clean evaluation images flagged at one nominal rate.

    ``low`` and ``high`` are Wilson's interval; ``expected_low`` and ``expected_high`` is where
    a perfectly calibrated guard falls, calibration sample included.
    """

    nominal: float
    value: float
    low: float
    high: float
    n: int
    expected_low: float
    expected_high: float


@dataclass(frozen=True)
class Clean:
    """The classifier and the guard on clean evaluation images."""

    n: int
    accuracy: Estimate
    accuracy_after_rejection: Estimate
    false_alarm_rates: tuple[FalseAlarms, ...]


@dataclass(frozen=True)
class Robustness:
    """What an attack did to the classifier. Robust: predicted correctly under attack.

    ``success_rate`` and ``median_perturbation`` (in the attack's norm; of successes) count
    images whose clean prediction is right.
    """

    attack: str
    norm: str
    eps: float | None
    robust_accuracy: Estimate
    success_rate: Estimate
    median_perturbation: Estimate
    control: bool


@dataclass(frozen=True)
class DetectionRow:
    """How a detector told one attack's successes from clean images.

    Successes count whose clean twin was right; for a control, noise that left the prediction
    right. ``fitted_on_it`` is false where the attack's whole family was left out of fitting.
    """

    detector: str
    attack: str
    norm: str
    eps: float | None
    control: bool
    fitted_on_it: bool
    auroc: Estimate
    balanced_accuracy: Estimate
    detection_rate: Mapping[str, Estimate]


@dataclass(frozen=True)
class LayerRow:
    """Detection from one layer's columns of one feature family alone, at 5 % false alarms."""

    layer: str
    family: str
    detection_rate: Estimate
    auroc: Estimate


@dataclass(frozen=True)
class CutRow:
    """Accuracy of the Fiedler cut of clean against attacked inputs, within predicted classes."""

    attack: str
    eps: float | None
    accuracy: Estimate


@dataclass(frozen=True)
class Report:
    """Everything that ``report.json`` holds."""

    model: str
    data: str
    split: str
    seed: int
    clean: Clean
    robustness: tuple[Robustness, ...]
    detection: tuple[DetectionRow, ...]
    layers: tuple[LayerRow, ...] = ()
    cuts: tuple[CutRow, ...] = ()
    guard: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, in the order of the fields; equal reports give equal JSON."""
        return {"schema": SCHEMA, **_rounded(asdict(self))}


@dataclass(frozen=True, eq=False)
class PictureRow:
    """One clean picture and its attacked twin, ``(c, h, w)`` pixels in [0, 1]."""

    clean: NDArray[np.float32]
    attacked: NDArray[np.float32]
    attack: str
    true_label: str
    clean_label: str
    attacked_label: str
    clean_p_value: float
    attacked_p_value: float
    clean_flagged: bool
    attacked_flagged: bool


@dataclass(frozen=True, eq=False)
class Embedding:
    """Coordinates ``(n, 2)`` of inputs in a graph's eigenvectors; kind 0 clean, 1 attacked."""

    coordinates: NDArray[np.float64]
    kind: NDArray[np.int64]
    title: str


@dataclass(frozen=True, eq=False)
class Figures:
    """What the plots need beyond the report.

    Attributes:
        clean_scores: ``(n,)`` the guard's scores of clean evaluation images.
        scores: The guard's scores of counted rows, by attack and budget as text.
        controls: Which keys of ``scores`` are noise.
        curves: By attack, ``(eps, robust accuracy, norm)``.
        pictures: Rows of the picture grid.
        embedding: The Fiedler embedding of clean and attacked inputs.
    """

    clean_scores: NDArray[np.float64]
    scores: Mapping[str, NDArray[np.float64]]
    controls: frozenset[str] = frozenset()
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], str]] = field(
        default_factory=dict
    )
    pictures: tuple[PictureRow, ...] = ()
    embedding: Embedding | None = None


def _rounded(value: Any) -> Any:
    """Round floats to nine digits: what two runs agree on, whatever the order of their sums."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
