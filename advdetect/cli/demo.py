"""advdetect demo."""

from pathlib import Path
from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.evaluate import print_report
from advdetect.cli.terminal import one_line_errors, print_json, tell, track


def demo(
    out: Annotated[Path, typer.Option(help="Run folder, resumed if begun.")] = Path("runs/demo"),
    seed: o.Seed = 0,
    as_json: o.Json = False,
) -> None:
    """Show the whole story on real pictures: attack, fit a guard, evaluate it, report.

    Example: advdetect demo --out runs/demo
    """
    with one_line_errors(resumes=True):
        from advdetect.workflows.demonstrating import demonstrate

        shown = demonstrate(out, seed=seed, tell=tell, track=track)
        if as_json:
            print_json(shown.evaluated.report.to_json())
            return
        print_report(shown.evaluated)
        typer.echo(f"try the guard: advdetect detect {shown.guard} PICTURE...")
