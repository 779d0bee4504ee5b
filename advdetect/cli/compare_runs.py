"""advdetect compare-runs."""

from pathlib import Path
from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import one_line_errors, print_json, print_table, share


def compare_runs(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...", help="Run folders of advdetect evaluate.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where runs.html and runs.json go.")] = Path(
        "runs/compared"
    ),
    as_json: o.Json = False,
) -> None:
    """Lay evaluations side by side: guards, models, versions, and every figure.

    Example: advdetect compare-runs runs/plain runs/robust
    """
    with one_line_errors():
        from advdetect.workflows.comparing_runs import compare_runs as compare

        compared = compare(runs, out)
        if as_json:
            print_json(compared.to_json())
            return
        for part in dict.fromkeys(line.part for line in compared.lines):
            print_table(
                part,
                ("", *compared.runs),
                (
                    (line.name, *("-" if v is None else share(v.value) for v in line.values))
                    for line in compared.lines
                    if line.part == part
                ),
            )
        typer.echo(f"page: {compared.files[1]}")
