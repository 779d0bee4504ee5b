"""advdetect evaluate."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import (
    eps_text,
    one_line_errors,
    parse_size,
    prepare,
    print_json,
    print_table,
    share,
    tell,
    track,
)
from advdetect.errors import InputError

if TYPE_CHECKING:
    from advdetect.workflows.evaluating_run import EvaluatedRun


def evaluate(
    guard: Annotated[
        str | None,
        typer.Argument(help="A guard's folder, or a shipped model's name.", show_default=False),
    ] = None,
    data: o.Data = "fashion-mnist",
    suite: Annotated[
        str, typer.Option(help="Which attacks: quick, standard, strong.")
    ] = "standard",
    limit: Annotated[int | None, typer.Option(min=1, help="Attack at most so many images.")] = 1000,
    seed: o.Seed = 0,
    out: Annotated[Path, typer.Option(help="Run folder, resumed if begun.")] = Path(
        "runs/evaluate"
    ),
    from_run: Annotated[
        Path | None,
        typer.Option("--from", help="Make the report of this finished run again."),
    ] = None,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Attack the guard itself too, knowing it.")
    ] = False,
    adaptive_limit: Annotated[
        int, typer.Option(min=1, help="With --adaptive: on so many images.")
    ] = 200,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Compare with published detectors, fitted on the data."),
    ] = False,
    surrogate: o.Surrogate = None,
    workers: o.Workers = None,
    threads: o.Threads = None,
    ray: o.Ray = None,
    data_root: o.DataRoot = None,
    resize: o.Size = None,
    channels: o.Channels = None,
    as_json: o.Json = False,
) -> None:
    """Say what a guard is worth: attack its model and judge clean and attacked images.

    Example: advdetect evaluate fashion-resnet --suite quick --limit 200 --out runs/check

    With --adaptive the guard is attacked by someone who knows it: seconds an image.

    Example: advdetect evaluate fashion-resnet --suite quick --adaptive --adaptive-limit 50
    """
    with one_line_errors(resumes=True):
        from advdetect import data as datasets
        from advdetect.networks import load_model
        from advdetect.workflows.evaluating_run import Fitting, evaluate_again, evaluate_into
        from advdetect.workflows.guards import load_guard

        if from_run is not None:
            if guard is not None:
                raise InputError("--from reads a finished run alone: leave the guard out")
            done = evaluate_again(from_run)
        elif guard is None:
            raise InputError("name a guard to evaluate, or give --from RUN")
        else:
            prepare(threads, suite, surrogate)
            loaded = load_guard(guard)
            load = partial(
                datasets.load,
                data,
                data_root=data_root,
                resize=parse_size(resize),
                channels=channels,
            )
            images = load(split="evaluation")
            done = evaluate_into(
                loaded,
                images,
                out,
                name=guard,
                suite=suite,
                seed=seed,
                limit=limit,
                adaptive=adaptive_limit if adaptive else 0,
                baselines=Fitting(load(split="reference"), load(split="calibration"))
                if baselines
                else None,
                surrogate=None if surrogate is None else load_model(surrogate),
                workers=workers,
                ray=ray,
                track=track,
            )
        if as_json:
            print_json(done.report.to_json())
        else:
            print_report(done)


def print_report(done: "EvaluatedRun") -> None:
    """Print what matters of a report, and where the rest lies."""
    from advdetect.report.report import ALL

    report = done.report
    own = report.detection[0].detector if report.detection else ""
    print_table(
        f"{report.model} on {report.data} ({report.split}): clean accuracy "
        f"{share(report.clean.accuracy.value)}, detector {own}",
        ("attack", "eps", "n", "AUROC", "at 1 %", "at 5 %", "unseen 5 %"),
        _lines(done, own),
    )
    if report.knowing:
        keys = list(report.knowing[0].success)
        print_table(
            f"attacks that know the guard: misclassified and not flagged, of {own} guard's images",
            ("attack", "eps", "n", *(f"at {share(float(key))}" for key in keys)),
            (
                (
                    row.attack,
                    eps_text(row.eps),
                    row.success[keys[0]].n,
                    *(share(row.success[key].value) for key in keys),
                )
                for row in (*report.evasion(), *(r for r in report.knowing if r.attack != ALL))
            ),
        )
    for alarms in report.clean.false_alarm_rates:
        tell(
            f"false alarms at {share(alarms.nominal)}: {share(alarms.value)} of {alarms.n} clean "
            f"images; a calibrated guard gives {share(alarms.expected_low)} to "
            f"{share(alarms.expected_high)}"
        )
    for warning in report.warnings:
        tell(f"warning: {warning}")
    for file in done.files:
        if file.suffix == ".html":
            typer.echo(f"report: {file}")


def _lines(done: "EvaluatedRun", own: str) -> list[tuple[object, ...]]:
    rows = [row for row in done.report.detection if row.detector == own]
    first = {(row.attack, row.eps): row for row in reversed(rows)}
    unseen = {(row.attack, row.eps): row for row in rows if not row.fitted_on_it}
    lines: list[tuple[object, ...]] = []
    for key in dict.fromkeys((row.attack, row.eps) for row in rows):
        row, other = first[key], unseen.get(key)
        area = row.auroc.value
        lines.append(
            (
                f"{row.attack} (noise)" if row.control else row.attack,
                eps_text(row.eps),
                row.auroc.n,
                "-" if area is None else f"{area:.3f}",
                share(row.detection_rate["0.01"].value),
                share(row.detection_rate["0.05"].value),
                share(other.detection_rate["0.05"].value) if other and not row.control else "-",
            )
        )
    return lines
