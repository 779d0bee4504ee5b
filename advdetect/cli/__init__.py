"""The command line: read arguments, call one workflow, print its result.

Workflows are imported inside the commands: torch costs seconds, and help is not to wait for it.
"""

import typer

from advdetect.cli.attack import attack
from advdetect.cli.compare import compare
from advdetect.cli.compare_runs import compare_runs
from advdetect.cli.demo import demo
from advdetect.cli.detect import detect
from advdetect.cli.evaluate import evaluate
from advdetect.cli.fit import fit
from advdetect.cli.listing import list_names
from advdetect.cli.path import path
from advdetect.cli.serve import serve
from advdetect.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Find adversarial inputs by how a network's layers represent them.",
)
app.command()(demo)
app.command()(attack)
app.command()(fit)
app.command()(detect)
app.command()(evaluate)
app.command()(train)
app.command()(compare)
app.command("compare-runs")(compare_runs)
app.command()(path)
app.command()(serve)
app.command("list")(list_names)


def main() -> None:
    """Run the command line."""
    app()


__all__ = ["app", "main"]
