"""What an evaluation found: the content of report.json, as frozen dataclasses."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Self

from advdetect import storage
from advdetect.errors import FileError
from advdetect.metrics import Estimate
from advdetect.report.plain import from_plain, to_plain
from advdetect.report.rows import (
    ClassCutRow,
    Clean,
    Convergence,
    CutRow,
    DetectionRow,
    FalseAlarms,
    KnowingRow,
    LayerRow,
    Robustness,
    SimilarityRow,
    TransferRow,
    WorstCase,
)

__all__ = [
    "ALL",
    "ALPHAS",
    "KNOWING_ALPHAS",
    "SCHEMA",
    "ClassCutRow",
    "Clean",
    "Convergence",
    "CutRow",
    "DetectionRow",
    "FalseAlarms",
    "KnowingRow",
    "LayerRow",
    "Robustness",
    "SimilarityRow",
    "TransferRow",
    "WorstCase",
    "Report",
]

SCHEMA = 1
ALPHAS = (0.01, 0.05, 0.1)
KNOWING_ALPHAS = (0.01, 0.05, 0.5)
ALL = "all attacks"
CONVERGED = 0.02  # a change of the success that is small enough
NOISE_FACTOR = 3  # noise flagged more often than this times the nominal rate is no noise to it

THREAT_MODEL = (
    "The attacker knows the classifier, its weights and its gradients, and changes every pixel "
    "within the norm and eps of a row (in pixel units of [0, 1]), or as little as the attack can. "
    "The attacker does not know that a guard stands behind the classifier, except where a row says "
    "so: there everything is known of the guard too, its features, detector and calibration."
)


@dataclass(frozen=True)
class Report:
    """Everything that ``report.json`` holds; see the fields' own classes.

    Attributes:
        guard: What was graded: ``detector`` and ``false_alarm_rate``, and whatever else tells
            it from other guards.
        checks: What a look at the model itself showed; see ``advdetect.workflows.inspecting``.
        versions: By package.
        warnings: What the figures say against each other; see ``find_warnings``.
    """

    model: str
    data: str
    split: str
    seed: int
    clean: Clean
    robustness: tuple[Robustness, ...]
    detection: tuple[DetectionRow, ...]
    layers: tuple[LayerRow, ...] = ()
    cuts: tuple[CutRow, ...] = ()
    class_cuts: tuple[ClassCutRow, ...] = ()
    worst_case: WorstCase | None = None
    guard: Mapping[str, Any] = field(default_factory=dict)
    threat_model: str = THREAT_MODEL
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    knowing: tuple[KnowingRow, ...] = ()
    convergence: tuple[Convergence, ...] = ()
    transfer: tuple[TransferRow, ...] = ()
    similarity: tuple[SimilarityRow, ...] = ()
    checks: Mapping[str, float] = field(default_factory=dict)

    @property
    def detector(self) -> str:
        """The guard's detector."""
        first = self.detection[0].detector if self.detection else "no"
        return str(self.guard.get("detector", first))

    @property
    def false_alarm_rate(self) -> float:
        """The guard's nominal false-alarm rate; 0.05 where rows do not know it."""
        rate = float(self.guard.get("false_alarm_rate", 0.05))
        return rate if all(f"{rate:g}" in row.detection_rate for row in self.detection) else 0.05

    @property
    def detectors(self) -> tuple[str, ...]:
        """Every detector with a row, the guard's own first."""
        return tuple(dict.fromkeys([self.detector, *(row.detector for row in self.detection)]))

    def rows(
        self,
        detector: str | None = None,
        *,
        left_out: bool = False,
        control: bool = False,
    ) -> tuple[DetectionRow, ...]:
        """A detector's rows, one per attack and budget.

        Args:
            detector: Its name; ``None`` for the guard's.
            left_out: Rows of a detector that was not fitted on the attack; otherwise those of
                the detector as it was fitted, whether on the attack or not.
            control: Noise instead of attacks.
        """
        kind = (detector or self.detector, control)
        rows = [row for row in self.detection if (row.detector, row.control) == kind]
        found: dict[str, DetectionRow] = {}
        for row in rows:
            if row.fitted_on_it is not left_out or (not left_out and row.budget not in found):
                found[row.budget] = row
        return tuple(found.values())

    def pairs(self, detector: str | None = None) -> tuple[tuple[DetectionRow, DetectionRow], ...]:
        """A detector's rows fitted on an attack, each with the row that left the attack out."""
        unseen = {row.budget: row for row in self.rows(detector, left_out=True)}
        seen = [row for row in self.rows(detector) if row.fitted_on_it]
        return tuple((row, unseen[row.budget]) for row in seen if row.budget in unseen)

    def worst(self, detector: str | None = None, *, left_out: bool = False) -> DetectionRow | None:
        """The attack found least often at the guard's false-alarm rate, noise apart."""
        rows = self.rows(detector, left_out=left_out)
        found = [row for row in rows if self.detected(row).n]
        return min(
            found, key=lambda row: (_value(self.detected(row)), _value(row.auroc)), default=None
        )

    def worst_by_auroc(
        self, detector: str | None = None, *, left_out: bool = False
    ) -> DetectionRow | None:
        """The attack with the smallest area, noise apart; often not the one found least."""
        rows = self.rows(detector, left_out=left_out)
        return min((r for r in rows if r.auroc.n), key=lambda r: _value(r.auroc), default=None)

    def evasion(self, detector: str | None = None) -> tuple[KnowingRow, ...]:
        """All attacks that knew a guard taken together, one row per budget, in rising order."""
        rows = [row for row in self.knowing if row.detector == (detector or self.detector)]
        together = [row for row in rows if row.attack == ALL]
        return tuple(sorted(together or rows, key=lambda row: (row.norm != "linf", row.eps or 0.0)))

    def evaded(self, row: KnowingRow) -> Estimate:
        """A row's success at the guard's false-alarm rate; at 5 % where rows do not know it."""
        return row.success.get(f"{self.false_alarm_rate:g}", row.success["0.05"])

    def evasion_at_a_small_budget(self) -> KnowingRow | None:
        """The row of ``evasion`` at linf 8/255, or at the budget next to it."""
        return min(
            self.evasion(),
            key=lambda row: (row.norm != "linf", abs((row.eps or 0.0) - 8 / 255)),
            default=None,
        )

    def loudest_noise(self) -> DetectionRow | None:
        """The noise that the guard flags most, if it flags it suspiciously often."""
        rows = [row for row in self.rows(control=True) if self.detected(row).n]
        loudest = max(rows, key=lambda row: _value(self.detected(row)), default=None)
        limit = NOISE_FACTOR * self.false_alarm_rate
        if loudest is None or _value(self.detected(loudest)) <= limit + 1e-9:
            return None
        return loudest

    def detected(self, row: DetectionRow) -> Estimate:
        """A row's detection rate at the guard's false-alarm rate."""
        return row.detection_rate[f"{self.false_alarm_rate:g}"]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, in the order of the fields; equal reports give equal JSON.

        ``worst`` is added for readers in a hurry: by detector, as it was fitted and with attacks
        left out, the attack found least often and the one with the smallest area.
        """
        return {
            "schema": SCHEMA,
            **to_plain(asdict(self)),
            "worst": list(map(to_plain, self._worst())),
        }

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            FileError: a newer schema, or a part that is missing or of another kind.
        """
        found = content.get("schema") if isinstance(content, dict) else None
        if found != SCHEMA:
            raise FileError(f"a report of schema {found}, this version reads {SCHEMA}")
        try:
            return from_plain(cls, content)
        except (KeyError, TypeError, AttributeError) as error:
            raise FileError(f"no complete report: {type(error).__name__} {error}") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a ``report.json``.

        Raises:
            FileError: the file is missing, damaged, or of a newer schema.
        """
        return cls.from_json(storage.read_json(path, schema=SCHEMA))

    def _worst(self) -> Iterator[dict[str, Any]]:
        for detector, left_out in product(self.detectors, (False, True)):
            least = self.worst(detector, left_out=left_out)
            area = self.worst_by_auroc(detector, left_out=left_out)
            if least is not None and area is not None:
                yield {
                    "detector": detector,
                    "left_out": left_out,
                    "detection_rate": _named(least, self.detected(least)),
                    "auroc": _named(area, area.auroc),
                }


def _named(row: DetectionRow, estimate: Estimate) -> dict[str, Any]:
    return {"attack": row.attack, "norm": row.norm, "eps": row.eps, **estimate.to_json()}


def _value(estimate: Estimate) -> float:
    return 1.0 if estimate.value is None else estimate.value
