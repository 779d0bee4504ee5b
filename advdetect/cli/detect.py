"""advdetect detect."""

import json
from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import one_line_errors, take_any_name, tell


def detect(
    guard: o.GuardName,
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, folders, .npy or .npz files; - reads paths from standard input.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per input.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Status 3 if anything was flagged.")
    ] = False,
    resize: Annotated[bool, typer.Option(help="Resize pictures to the guard's size.")] = False,
) -> None:
    """Say of each picture whether it looks adversarial.

    Example: advdetect detect fashion-resnet pictures/ --json
    """
    broken = flagged = 0
    take_any_name()
    with one_line_errors():
        from advdetect.workflows.detecting import detect as detections
        from advdetect.workflows.guards import load_guard

        loaded = load_guard(guard)
        for found in detections(loaded, paths, resize=resize):
            if as_json:
                typer.echo(json.dumps(found.to_json()))
            if found.error is not None:
                broken += 1
                if not as_json:
                    tell(f"error: {found.name}: {found.error}")
                continue
            flagged += bool(found.flagged)
            if not as_json:
                verdict = "ADVERSARIAL" if found.flagged else "clean"
                label = found.class_name or found.label
                typer.echo(
                    f"{verdict:<11}  p={found.p_value:.4f}  {label} "
                    f"({found.confidence:.2f})  {found.name}"
                )
    if broken:
        tell(f"{broken} input(s) could not be read")
        raise typer.Exit(1)
    if exit_code and flagged:
        raise typer.Exit(3)
