"""A made-up evaluation, as plausible as an invented one can be."""

from dataclasses import replace

import numpy as np
import pytest

from advdetect.attacks import SUITES
from advdetect.metrics import NONE, auroc, balanced_accuracy, mean, median, rate, wilson
from advdetect.report import Embedding, Figures, PictureRow, Report
from advdetect.report.blocks import Story
from advdetect.report.plots import Plot, draw
from advdetect.report.report import (
    ALPHAS,
    ClassCutRow,
    Clean,
    CutRow,
    DetectionRow,
    FalseAlarms,
    LayerRow,
    Robustness,
    WorstCase,
)
from advdetect.report.story import tell

LAYERS = (
    "stem.relu",
    "block1.relu",
    "block1.relu#2",
    "block2.relu",
    "block2.relu#2",
    "block3.relu",
)


class Invention:
    """Scores of clean and attacked images, and everything that follows from them."""

    def __init__(self, seed: int = 0, n: int = 300) -> None:
        self.source = np.random.default_rng(seed)
        self.clean = self.source.normal(-3, 1.6, 3 * n)
        self.calibration = np.sort(self.source.normal(-3, 1.6, 2000))
        self.scores = {}
        self.budgets = SUITES["standard"]
        for budget in self.budgets:
            strength = 4 - 1.1 * (budget.eps == 4 / 255) - 0.8 * (budget.eps is None)
            centre, spread = (-3.0, 1.65) if "noise" in budget.attack else (strength, 2.0)
            self.scores[str(budget)] = self.source.normal(centre, spread, n)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        return (2001 - np.searchsorted(self.calibration, scores)) / 2001

    def row(self, budget, detector: str, *, fitted: bool, weaker: float = 0.0) -> DetectionRow:
        scores = self.scores[str(budget)] - weaker * ("noise" not in budget.attack)
        p_values = self.p_values(scores)
        return DetectionRow(
            detector,
            budget.attack,
            budget.attack.split("_")[0],
            budget.eps,
            "noise" in budget.attack,
            fitted,
            auroc(self.clean, scores),
            balanced_accuracy(self.clean > 0, scores > 0),
            {f"{alpha:g}": rate(p_values <= alpha) for alpha in ALPHAS},
        )

    def robustness(self, budget) -> Robustness:
        noise = "noise" in budget.attack
        left = {None: 0.0, 4 / 255: 0.6, 8 / 255: 0.3, 0.1: 0.02, 0.5: 0.4, 1.5: 0.03}[budget.eps]
        left = 0.91 if noise else left + 0.12 * ("fgsm" in budget.attack)
        norm = budget.attack.split("_")[0]
        sizes = self.source.gamma(4, 0.1 if norm == "l2" else 0.005, 400)
        return Robustness(
            budget.attack,
            norm,
            budget.eps,
            wilson(round(1000 * left), 1000),
            wilson(round(925 - 1000 * left) + 5 * noise, 925),
            median(sizes if budget.eps is None else np.full(400, budget.eps)),
            noise,
        )

    def report(self) -> Report:
        alarms = []
        expected = {0.1: (0.083, 0.118), 0.05: (0.038, 0.063), 0.01: (0.0047, 0.0163)}
        for alpha, (low, high) in expected.items():
            seen = wilson(round(3000 * alpha * 1.05), 3000)
            alarms.append(FalseAlarms(alpha, seen.value, seen.low, seen.high, 3000, low, high))
        attacks = [b for b in self.budgets if "noise" not in b.attack]
        detection = [self.row(b, "logistic", fitted=True) for b in self.budgets]
        detection += [self.row(b, "logistic", fitted=False, weaker=0.25) for b in attacks]
        detection += [self.row(b, "fiedler", fitted=True, weaker=1.0) for b in self.budgets]
        detection += [self.row(b, "clean-only", fitted=False, weaker=2.0) for b in self.budgets]
        layers = [
            LayerRow(layer, family, wilson(round(5000 * share), 5000), wilson(4500, 5000))
            for i, layer in enumerate(LAYERS)
            for family, share in (
                ("bits", 0.25 + 0.09 * i),
                ("neighbours", 0.45 + 0.085 * i),
                ("graph edges", 0.3 + 0.07 * i),
                ("magnitudes", 0.2 + 0.05 * i),
            )
        ]
        return Report(
            "fashion-resnet",
            "fashion-mnist",
            "evaluation",
            0,
            Clean(3000, wilson(2781, 3000), wilson(2700, 2846), tuple(alarms)),
            tuple(map(self.robustness, self.budgets)),
            tuple(detection),
            tuple(layers),
            tuple(CutRow(b.attack, b.eps, mean([0.9, 0.92, 0.97])) for b in attacks),
            tuple(
                ClassCutRow(layer, wilson(round(45 * share), 45))
                for layer, share in zip(LAYERS, (0.85, 0.89, 0.92, 0.94, 0.96, 0.985), strict=True)
            ),
            WorstCase(len(attacks), wilson(3, 400), wilson(351, 400)),
            {
                "detector": "logistic",
                "false_alarm_rate": 0.05,
                "model_sha256": "3b0c" * 16,
                "images": {"reference": 3500, "fitting": 1500, "calibration": 2000},
            },
            versions={"advdetect": "0.1.0", "torch": "2.13.0"},
        )

    def figures(self) -> Figures:
        reach = np.linspace(0, 0.12, 60)
        kind = np.repeat([0, 1], 100)
        plane = self.source.normal(size=(200, 2)) * (0.4, 1) + np.where(kind, 1, -1)[:, None] * (
            1,
            0,
        )
        return Figures(
            self.clean,
            self.scores,
            frozenset(key for key in self.scores if "noise" in key),
            -0.37,
            {
                "linf_fmn": (reach, 0.925 * np.exp(-((reach / 0.02) ** 2)), "linf"),
                "l2_deepfool": (20 * reach, 0.925 * np.exp(-((20 * reach / 0.5) ** 2)), "l2"),
            },
            self.pictures(self.source.random((4, 1, 12, 12), np.float32)),
            Embedding(plane, kind, "Predicted class Sneaker, PGD at 0.1"),
        )

    def pictures(self, clean: np.ndarray) -> tuple[PictureRow, ...]:
        noise = self.source.choice([-1, 1], clean.shape) * np.float32(8 / 255)
        attacked = np.clip(clean + noise, 0, 1).astype(np.float32)
        names = ("Sandal", "Sneaker", "Coat", "Pullover", "Shirt", "Bag", "Dress", "Trouser")
        caught = [True, True, False, True, True, True, True, True]
        return tuple(
            PictureRow(
                before,
                after,
                str(self.budgets[i + 3]),
                names[i],
                names[i],
                names[i - 1],
                0.61 - 0.05 * i,
                0.0005 if caught[i] else 0.13,
                False,
                caught[i],
            )
            for i, (before, after) in enumerate(zip(clean, attacked, strict=True))
        )


@pytest.fixture(scope="session")
def invention() -> Invention:
    return Invention()


@pytest.fixture(scope="session")
def report(invention) -> Report:
    return invention.report()


@pytest.fixture(scope="session")
def figures(invention) -> Figures:
    return invention.figures()


@pytest.fixture
def bare(report) -> tuple[Report, Figures]:
    """Nothing but what a report must hold: no attack, no figure."""
    empty = replace(
        report,
        robustness=(),
        detection=(),
        layers=(),
        cuts=(),
        class_cuts=(),
        worst_case=None,
        clean=replace(report.clean, accuracy_after_rejection=NONE),
    )
    return empty, Figures(np.zeros(0), {})


@pytest.fixture(scope="session")
def plots(report, figures) -> tuple[Plot, ...]:
    return draw(report, figures)


@pytest.fixture(scope="session")
def story(report, figures, plots) -> Story:
    return tell(report, figures, plots)
