"""What a report tells, in which order; how it is written is another module's."""

from collections.abc import Mapping, Sequence
from typing import Any

from advdetect.report import tables
from advdetect.report.blocks import (
    Block,
    Drawings,
    Gallery,
    Points,
    Section,
    Story,
    Terms,
    Text,
    Tile,
)
from advdetect.report.figures import Figures
from advdetect.report.knowing import knowing
from advdetect.report.members import members
from advdetect.report.plots import Plot
from advdetect.report.report import Report
from advdetect.report.words import (
    attack_words,
    count,
    headline,
    nominal,
    percent,
    percent_range,
    row_words,
    share_range,
)

NOT_ADAPTIVE = (
    "An attacker who knows the guard was not tried here, and no figure on this page speaks of "
    "one. Detectors of this kind have been evaded by attackers who knew them."
)
NO_PROMISES = (
    "An image that passes is not proved clean: it only scores as clean images do.",
    "The false-alarm rate holds for clean images that come from where the calibration images "
    "came from. Another camera, another crop or another resize may set off any number of alarms.",
    "Attacks that did not fool the model are not counted; the guard may flag them or not.",
    "Rates are of the attacks named, with the parameters they were run with. A stronger attack "
    "may be found less often, and a weaker one too.",
)
GLOSSARY = (
    ("successes", "attacked images that the model gets wrong, and whose clean twin it gets right"),
    ("found at 5 %", "share of successes flagged where 5 % of clean images would be"),
    ("AUROC", "chance that a success scores higher than a clean image: 0.5 is a coin toss"),
    (
        "balanced accuracy",
        "mean of the shares of clean images passed and of successes flagged, at a threshold "
        "fixed on fitting data",
    ),
    ("x to y", "95 % interval: Wilson's for shares, DeLong's for areas"),
    ("left out", "a detector fitted without this kind of attack, at every eps"),
    ("p", "share of calibration images that score as high; flagged if at most the nominal rate"),
    (
        "L\u221e 8/255",
        "no pixel moves by more than 8 of 255 grey levels; L2 is the length of the whole change "
        "with pixels in [0, 1]; without a number, the attack seeks the smallest change",
    ),
    ("robust accuracy", "share of all attacked images that the model still gets right"),
    ("right or flagged", "share of all attacked images that end well: no wrong label goes unseen"),
    (
        "evades at 5 %",
        "share of correctly classified images that an attacker who knows the guard gets "
        "misclassified and not flagged, where 5 % of clean images would be flagged",
    ),
)


def tell(report: Report, figures: Figures, plots: Sequence[Plot]) -> Story:
    """Put a report's words, tables and figures in order; parts without data are left out."""
    drawn = {plot.name: plot for plot in plots}

    def show(*names: str) -> tuple[Block, ...]:
        chosen = tuple(p for n, p in drawn.items() if n.startswith(names))
        return (Drawings(chosen),) if chosen else ()

    sections = [
        Section("Warnings", _warnings(report)),
        Section(
            "What the guard finds",
            (
                Text(
                    "Counted are attacked images that fool the model and whose clean twin it gets "
                    "right."
                ),
                *show("detection_by_attack", "roc", "score_histograms"),
                *tables.detection(report),
            ),
        ),
        Section("Attacks it was not fitted on", tables.left_out(report)),
        Section("Attacks that know the guard", (*show("evasion"), *knowing(report))),
        Section("Noise, which should pass", tables.noise(report)),
        Section("Clean images", tables.clean(report)),
        Section("Pictures", _pictures(figures, drawn)),
        Section("The classifier alone", (*tables.robustness(report), *show("robust_accuracy"))),
        Section("The ensemble's members", (*show("members"), *members(report))),
        Section(
            "Where attacks show",
            (*show("by_layer", "class_cuts", "fiedler_embedding"), *tables.cuts(report)),
        ),
        Section("Other detectors on the same images", tables.others(report)),
        Section("Threat model, and what is not promised", _limits(report)),
        Section("How to read it", (Terms(GLOSSARY),)),
        Section("What was run", (Terms(tuple(_provenance(report))),)),
    ]
    return Story(
        f"What the guard of {report.model} is worth",
        f"{report.detector} detector on {count(report.clean.n)} {report.split} images of "
        f"{report.data}",
        headline(report),
        tuple(_tiles(report)),
        tuple(section for section in sections if section.blocks),
    )


def _tiles(report: Report) -> list[Tile]:
    tiles: list[Tile] = []
    at = nominal(report.false_alarm_rate)
    kinds = (
        ("Flagged, on the worst attack", report.worst()),
        ("Flagged, worst attack left out", report.worst(left_out=True)),
    )
    for label, row in kinds:
        if row is not None:
            estimate = report.detected(row)
            below = f"{share_range(estimate)}; {row_words(row)}"
            tiles.append(Tile(label, percent(estimate.value), below))
    known = report.evasion_at_a_small_budget()
    if known is not None:
        estimate = report.evaded(known)
        below = f"{share_range(estimate)}; {attack_words(known.norm + '_', known.eps).strip()}"
        tiles.append(Tile("Lost to who knows the guard", percent(estimate.value), below))
    noise = [row for row in report.rows(control=True) if report.detected(row).n]
    if noise:
        row = max(noise, key=lambda row: report.detected(row).value or 0.0)
        below = f"{share_range(report.detected(row))}; {row_words(row)}"
        tiles.append(Tile("Flagged, harmless noise", percent(report.detected(row).value), below))
    for alarms in report.clean.false_alarm_rates:
        if abs(alarms.nominal - report.false_alarm_rate) < 1e-9:
            calibrated = percent_range(alarms.expected_low, alarms.expected_high)
            below = f"nominal {at}; a calibrated guard: {calibrated}"
            tiles.append(Tile("Flagged, clean images", percent(alarms.value), below))
    accuracy, kept = report.clean.accuracy, report.clean.accuracy_after_rejection
    below = f"{percent(kept.value)} of those that pass the guard"
    tiles.append(Tile("Right, clean images", percent(accuracy.value), below))
    worst = report.worst_case
    if worst is not None:
        below = f"right or flagged; without the guard {percent(worst.robust_accuracy.value)}"
        value = percent(worst.guarded_accuracy.value)
        tiles.append(Tile(f"Images safe from all {worst.attacks} attacks", value, below))
    return tiles


def _warnings(report: Report) -> tuple[Block, ...]:
    if report.warnings:
        return (Points(report.warnings, alert=True),)
    return (Text("None: no figure of this report contradicts another."),)


def _pictures(figures: Figures, drawn: Mapping[str, Plot]) -> tuple[Block, ...]:
    if "pictures" not in drawn:
        return ()
    return (Gallery(figures.pictures, drawn["pictures"]),)


def _limits(report: Report) -> tuple[Block, ...]:
    return (
        Text(report.threat_model),
        Points(NO_PROMISES if report.knowing else (NOT_ADAPTIVE, *NO_PROMISES)),
    )


def _provenance(report: Report) -> list[tuple[str, str]]:
    facts: dict[str, Any] = {
        "model": report.model,
        "data": report.data,
        "split": report.split,
        "seed": report.seed,
        **{f"guard, {key.replace('_', ' ')}": value for key, value in report.guard.items()},
        **report.versions,
    }
    return [(name, _plain(value)) for name, value in facts.items()]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
