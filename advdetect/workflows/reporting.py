"""From every example's records to the figures of a report; no model is needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from advdetect.attacks import ATTACKS
from advdetect.metrics import auroc, balanced_accuracy, false_alarm_interval, mean, median, rate
from advdetect.report.report import (
    ALL,
    ALPHAS,
    KNOWING_ALPHAS,
    Clean,
    Convergence,
    CutRow,
    DetectionRow,
    FalseAlarms,
    KnowingRow,
    LayerRow,
    Report,
    Robustness,
    SimilarityRow,
    TransferRow,
    WorstCase,
)
from advdetect.report.warnings import find_warnings
from advdetect.runs.records import Block
from advdetect.workflows.judging import CLEAN, Judged
from advdetect.workflows.partitioning import cut_accuracy
from advdetect.workflows.recording import (
    ATTACK,
    CHECK,
    CONTROL,
    EFFORTS,
    KNOWING,
    distance,
    of_kind,
    right,
)


def report_of(judged: Judged) -> Report:
    """Work out every figure of a report."""
    about = judged.about
    (clean,) = of_kind(judged.records, CLEAN)
    attacks = of_kind(judged.records, ATTACK, CONTROL)
    report = Report(
        about["model"],
        about["data"],
        about["split"],
        about["seed"],
        _clean(clean, about),
        tuple(_robustness(block) for block in attacks),
        tuple(_detection(judged)),
        tuple(_layers(judged.scores)),
        tuple(_cuts(of_kind(judged.records, ATTACK), judged.cuts)),
        knowing=tuple(_knowing(judged)),
        convergence=tuple(_convergence(judged)),
        transfer=tuple(_transfer(judged.members)),
        similarity=tuple(SimilarityRow(**row) for row in about.get("similarity", ())),
        checks=about["checks"],
        worst_case=_worst_case(of_kind(judged.records, ATTACK)),
        guard=about["guard"],
        versions=about["versions"],
    )
    return replace(report, warnings=find_warnings(report))


def _clean(block: Block, about: Mapping[str, Any]) -> Clean:
    alarms: list[FalseAlarms] = []
    calibration, counted = [about["calibration"]], [len(block)]
    if apart := about.get("calibrated_apart"):
        # A class without calibration images is held against those of all classes.
        calibration = [*apart.values(), about["calibration"]]
        own = [int((block["prediction"] == int(c)).sum()) for c in apart]
        counted = [*own, len(block) - sum(own)]
    for alpha in reversed(_rates(about, ALPHAS)):
        seen = rate(block["p_value"] <= alpha)
        low, high = false_alarm_interval(alpha, calibration, counted)
        alarms.append(
            FalseAlarms(
                alpha, seen.value or 0.0, seen.low or 0.0, seen.high or 1.0, seen.n, low, high
            )
        )
    correct = right(block)
    return Clean(len(block), rate(correct), rate(correct[~block["flagged"]]), tuple(alarms))


def _robustness(block: Block) -> Robustness:
    correct, broken = right(block), block["success"]
    return Robustness(
        *_named(block),
        rate(~broken),
        rate(broken[correct]),
        median(distance(block)[correct & broken]),
        block.keys["kind"] == CONTROL,
        rate(~broken | block["flagged"]),
    )


def _worst_case(attacks: Sequence[Block]) -> WorstCase | None:
    """Images that hold under every attack that was run on all of them."""
    n = max(map(len, attacks), default=0)
    every = [block for block in attacks if len(block) == n]
    if not every:
        return None
    broken = np.stack([block["success"] for block in every])
    passed = np.stack([~block["flagged"] for block in every])
    return WorstCase(len(every), rate(~broken.any(0)), rate(~(broken & passed).any(0)))


def _rates(about: Mapping[str, Any], usual: Sequence[float]) -> list[float]:
    """The usual false-alarm rates, and the guard's own, rising."""
    return sorted({*usual, about["guard"]["false_alarm_rate"]})


def _detection(judged: Judged) -> Iterator[DetectionRow]:
    """A row for each detector, fit and attack; the blocks of one fit stand together."""
    rates = _rates(judged.about, ALPHAS)
    whole = [block for block in judged.scores if not block.keys["layer"]]
    for (detector, _), blocks in groupby(whole, _fit):
        clean, *attacks = blocks
        for block in attacks:
            spec = ATTACKS[str(block.keys["attack"])]
            yield DetectionRow(
                str(detector),
                str(block.keys["attack"]),
                spec.norm,
                _eps(block),
                spec.control,
                bool(block.keys["fitted"]),
                auroc(clean["score"], block["score"]),
                balanced_accuracy(clean["above"], block["above"]),
                {f"{alpha:g}": rate(block["p_value"] <= alpha) for alpha in rates},
            )


def _layers(scores: Sequence[Block]) -> Iterator[LayerRow]:
    parts = [block for block in scores if block.keys["layer"]]
    for (layer, family), blocks in groupby(parts, lambda b: (b.keys["layer"], b.keys["features"])):
        clean, *attacked = blocks
        for block in attacked:
            yield LayerRow(
                str(layer),
                str(family),
                rate(block["above"]),
                auroc(clean["score"], block["score"]),
                str(block.keys["attack"]),
            )


def _cuts(attacks: Sequence[Block], cuts: Sequence[Block]) -> Iterator[CutRow]:
    for attack in attacks:
        name, _, eps = _named(attack)
        found = [c for c in cuts if (c.keys["attack"], _eps(c)) == (name, eps)]
        accuracy = mean([cut_accuracy(cut["side"], cut["adversarial"]) for cut in found])
        yield CutRow(name, eps, accuracy)


def _knowing(judged: Judged) -> Iterator[KnowingRow]:
    """Every attack that knew a guard, and all of them at once, image by image."""
    blocks, rates = of_kind(judged.records, KNOWING), _rates(judged.about, KNOWING_ALPHAS)
    for detector in dict.fromkeys(block.keys["detector"] for block in blocks):
        own = [block for block in blocks if block.keys["detector"] == detector]
        for block in own:
            yield _evasion(str(detector), _named(block), [block], rates)
        for norm, eps in dict.fromkeys((b.keys["norm"], _eps(b)) for b in own):
            every = [b for b in own if (b.keys["norm"], _eps(b)) == (norm, eps)]
            if len(every) > 1:
                yield _evasion(str(detector), (ALL, str(norm), eps), every, rates)


def _evasion(
    detector: str,
    named: tuple[str, str, float | None],
    blocks: Sequence[Block],
    rates: Sequence[float],
) -> KnowingRow:
    """An image is lost where any of the attacks gets it past the guard."""
    most = max(blocks, key=len)
    place = {index: row for row, index in enumerate(most["index"].tolist())}
    p_value = np.zeros(len(most))
    for block in blocks:
        rows = [place[index] for index in block["index"].tolist()]
        passing = np.where(block["success"], block["p_value"], 0.0)
        p_value[rows] = np.maximum(p_value[rows], passing)
    correct = right(most)
    success = {f"{alpha:g}": rate((p_value > alpha)[correct]) for alpha in rates}
    return KnowingRow(detector, *named, success)


def _convergence(judged: Judged) -> Iterator[Convergence]:
    """What twice the effort changes, budget by budget."""
    alpha = judged.about["guard"]["false_alarm_rate"]
    checks = {(b.keys["detector"], *_named(b)): b for b in of_kind(judged.records, CHECK)}
    for block in of_kind(judged.records, KNOWING):
        name, norm, eps = _named(block)
        detector = block.keys["detector"]
        more = [checks.get((detector, f"{name}, {effort}", norm, eps)) for effort in EFFORTS]
        success = [
            rate((b["success"] & (b["p_value"] > alpha))[right(b)]) for b in (block, *more) if b
        ]
        if len(success) == 1 + len(EFFORTS):
            yield Convergence(name, norm, eps, *success)


def _transfer(members: Sequence[Block]) -> Iterator[TransferRow]:
    """Accuracy on the images that every network of an ensemble gets right to begin with."""
    clean = [block for block in members if block.keys["source"] == CLEAN]
    every = {
        index
        for index, right in zip(
            clean[0]["index"].tolist() if clean else (),
            np.all([block["right"] for block in clean], axis=0) if clean else (),
            strict=True,
        )
        if right
    }
    for block in members:
        right = block["right"]
        if block not in clean:
            right = right[[index in every for index in block["index"].tolist()]]
        yield TransferRow(
            str(block.keys["source"]), str(block.keys["target"]), *_named(block), rate(right)
        )


def _fit(block: Block) -> tuple[object, object]:
    return block.keys["detector"], block.keys["left_out"]


def _named(block: Block) -> tuple[str, str, float | None]:
    return str(block.keys["attack"]), str(block.keys["norm"]), _eps(block)


def _eps(block: Block) -> float | None:
    eps = block.keys["eps"]
    return float(eps) if isinstance(eps, float | int) else None
