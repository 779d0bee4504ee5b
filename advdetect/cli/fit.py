"""advdetect fit."""

from pathlib import Path
from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import one_line_errors, parse_size, print_json, share, track


def fit(
    model: o.Model,
    out: Annotated[Path, typer.Option(help="Folder for the guard.", show_default=False)],
    data: o.Data = "fashion-mnist",
    attacked: Annotated[
        Path | None,
        typer.Option(help="Run of advdetect attack --split reference; made here if not given."),
    ] = None,
    detector: Annotated[str, typer.Option(help="See: advdetect list detectors.")] = "logistic",
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of clean inputs that may be flagged.")
    ] = 0.05,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Calibrate each predicted class by itself.")
    ] = False,
    no_choose: Annotated[
        bool,
        typer.Option(
            "--no-choose",
            help="Do not choose regularisation, and a distance's weight, by leaving out each "
            "family of attacks.",
        ),
    ] = False,
    passes: Annotated[
        int,
        typer.Option(
            min=1,
            max=4,
            help="Above 1: look at each picture again, mirrored, denoised or smoothed; finds more.",
        ),
    ] = 1,
    gradient: Annotated[
        bool,
        typer.Option(
            "--gradient",
            help="Ask how the decision answers to each picture's detail; finds more, costs a pass, "
            "and one more for each that smooths or denoises.",
        ),
    ] = False,
    units: Annotated[
        int | None,
        typer.Option(min=1, help="Cap of units per layer: less is smaller and faster; 2048."),
    ] = None,
    limit: o.Limit = None,
    seed: o.Seed = 0,
    weights: o.Weights = None,
    data_root: o.DataRoot = None,
    resize: o.Size = None,
    channels: o.Channels = None,
    as_json: o.Json = False,
) -> None:
    """Fit a guard on reference images and calibrate its false alarms on others.

    Example: advdetect fit fashion-resnet --limit 2000 --out guards/mine
    """
    with one_line_errors():
        from advdetect import data as datasets
        from advdetect.features.extractor import UNITS
        from advdetect.networks import load_model
        from advdetect.workflows.fitting import fit_guard

        size = parse_size(resize)
        loaded = load_model(model, weights=weights)
        reference, calibration = (
            datasets.load(
                data, split=split, limit=limit, data_root=data_root, resize=size, channels=channels
            )
            for split in ("reference", "calibration")
        )
        _, summary = fit_guard(
            loaded,
            reference,
            calibration,
            out,
            attacked=attacked,
            detector=detector,
            false_alarm_rate=false_alarm_rate,
            per_class=per_class,
            choose=not no_choose,
            passes=passes,
            gradient=gradient,
            units=UNITS if units is None else units,
            seed=seed,
            track=track,
        )
        if as_json:
            print_json(summary.to_json())
            return
        typer.echo(
            f"{summary.detector} on {summary.features} features of {summary.model}: "
            f"{summary.reference} reference, {summary.fitting} fitting and "
            f"{summary.calibration} calibration images, {len(summary.attacks)} attacks; "
            f"flags {share(summary.false_alarm_rate)} of clean inputs"
        )
        typer.echo(f"guard in {summary.folder}")
