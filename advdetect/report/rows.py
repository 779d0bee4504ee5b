"""The parts of a report: what was measured of images, attacks, detectors and layers."""

from collections.abc import Mapping
from dataclasses import dataclass

from advdetect.attacks.base import Budget
from advdetect.metrics import NONE, Estimate


@dataclass(frozen=True)
class FalseAlarms:
    """Share of clean evaluation images flagged at one nominal rate.

    ``low`` and ``high`` are Wilson's interval. ``expected_low`` and ``expected_high`` say where
    a perfectly calibrated guard falls, its calibration sample taken into account.
    """

    nominal: float
    value: float
    low: float
    high: float
    n: int
    expected_low: float
    expected_high: float

    @property
    def as_expected(self) -> bool:
        """Whether the rate lies where a perfectly calibrated guard's does."""
        return self.expected_low <= self.value <= self.expected_high


@dataclass(frozen=True)
class Clean:
    """The classifier and the guard on clean evaluation images.

    ``accuracy_after_rejection`` counts the images that the guard lets pass.
    """

    n: int
    accuracy: Estimate
    accuracy_after_rejection: Estimate
    false_alarm_rates: tuple[FalseAlarms, ...]


@dataclass(frozen=True)
class Robustness:
    """What an attack did to the classifier.

    ``robust_accuracy`` counts every image attacked; ``success_rate`` and ``median_perturbation``
    (in the attack's norm, of successes) those whose clean prediction is right.
    """

    attack: str
    norm: str
    eps: float | None
    robust_accuracy: Estimate
    success_rate: Estimate
    median_perturbation: Estimate
    control: bool = False
    guarded_accuracy: Estimate = NONE

    @property
    def budget(self) -> str:
        """Attack and eps as text, ``linf_pgd 8/255``."""
        return str(Budget(self.attack, self.eps))


@dataclass(frozen=True)
class DetectionRow:
    """How a detector tells one attack's successes from clean images.

    A row counts successes whose clean twin was right; for a control, noise that left the
    prediction right. ``detection_rate`` goes by nominal false-alarm rate, as text ("0.05").

    Attributes:
        fitted_on_it: False where the attack's whole family, at every eps, was left out of
            fitting.
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

    @property
    def budget(self) -> str:
        """Attack and eps as text, ``linf_pgd 8/255``."""
        return str(Budget(self.attack, self.eps))


@dataclass(frozen=True)
class KnowingRow:
    """How often an attack that knew the guard got past it.

    Attributes:
        detector: Of the guard that was attacked, and known.
        attack: Its name; ``all attacks``: any of them, image by image.
        success: By false-alarm rate, as text ("0.05"): share of the images classified correctly
            that ended misclassified and not flagged.
    """

    detector: str
    attack: str
    norm: str
    eps: float | None
    success: Mapping[str, Estimate]

    @property
    def budget(self) -> str:
        """Attack and eps as text, ``linf_joint_pgd 8/255``."""
        return str(Budget(self.attack, self.eps))


@dataclass(frozen=True)
class Convergence:
    """Whether more effort would have found more, at the guard's false-alarm rate.

    Attributes:
        success: As in ``KnowingRow``.
        twice_the_steps: The same with twice the steps.
        twice_the_restarts: The same with twice the restarts.
    """

    attack: str
    norm: str
    eps: float | None
    success: Estimate
    twice_the_steps: Estimate
    twice_the_restarts: Estimate

    @property
    def change(self) -> float:
        """The larger of the two changes of the success, in shares."""
        more = (self.twice_the_steps, self.twice_the_restarts)
        return max((abs((e.value or 0) - (self.success.value or 0)) for e in more), default=0.0)


@dataclass(frozen=True)
class LayerRow:
    """Detection at 5 % false alarms from one layer's columns of one feature family alone."""

    layer: str
    family: str
    detection_rate: Estimate
    auroc: Estimate
    attacks: str = "all attacks"


@dataclass(frozen=True)
class CutRow:
    """Accuracy of the Fiedler cut of clean against attacked inputs, no label used.

    A mean over predicted classes, which its ``n`` counts.
    """

    attack: str
    eps: float | None
    accuracy: Estimate


@dataclass(frozen=True)
class ClassCutRow:
    """Accuracy of the Fiedler cut of two classes at one layer.

    A mean over pairs of classes, which its ``n`` counts.
    """

    layer: str
    accuracy: Estimate


@dataclass(frozen=True)
class WorstCase:
    """Each image under all attacks at once; an image holds if no attack gets the better of it.

    ``robust_accuracy``: no attack changes the right class. ``guarded_accuracy``: none does so
    unflagged.
    """

    attacks: int
    robust_accuracy: Estimate
    guarded_accuracy: Estimate


# Networks of a row besides members, and the source of what nobody attacked.
AVERAGE, OUTSIDE, CLEAN = "average", "outside", "clean"


@dataclass(frozen=True)
class TransferRow:
    """Examples crafted on one network of an ensemble, tried on another.

    Attributes:
        source: ``member-0``, ..., ``average`` or ``outside``; ``clean`` for clean images.
        target: The same.
        accuracy: Of the target, on images that all networks classify correctly; on clean
            images, on all of them.
    """

    source: str
    target: str
    attack: str
    norm: str
    eps: float | None
    accuracy: Estimate


@dataclass(frozen=True)
class SimilarityRow:
    """How alike two members of an ensemble represent the same images in one layer.

    Attributes:
        n: Images that were compared at once.
        values: By measure.
    """

    first: int
    second: int
    layer: str
    n: int
    values: Mapping[str, float]
