"""advdetect list."""

from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import one_line_errors, print_json, print_table


def list_names(
    kind: Annotated[
        str,
        typer.Argument(help="models, datasets, attacks, suites, detectors, features or measures."),
    ],
    as_json: o.Json = False,
) -> None:
    """List what there is by name.

    Example: advdetect list attacks
    """
    with one_line_errors():
        from advdetect.workflows.listing import list_table

        table = list_table(kind)
        if as_json:
            print_json([dict(zip(table.header, row, strict=True)) for row in table.rows])
        else:
            print_table(kind, table.header, table.rows, figures=False)
