#!/usr/bin/env python
"""Time advdetect beside its rivals: scripts/benchmark.py NAME... [--json FILE].

Ours and each rival do the same work in one process, in turn (ours, rival, ours, rival, ...);
seconds are medians. A ratio above 1 means that ours is faster. The peak is how far resident
memory rises above where it stood, while ours runs once, unless the case says otherwise.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import BENCHMARKS
from benchmarks.comparing import Row, Scope
from rich.console import Console
from rich.table import Table

from advdetect import storage
from advdetect.checks import pick
from advdetect.errors import AdvDetectError

FIGURE = Path(__file__).parents[1] / "docs" / "scaling.png"


def main() -> None:
    """Run benchmarks, print each as it ends, and write them all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: for tests")
    parser.add_argument("--full", action="store_true", help="also the cases that take minutes")
    parser.add_argument("--threads", type=int, default=1, help="for everyone (default: 1)")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="of scaling, a PNG")
    arguments = parser.parse_args()
    benchmarks = {name: pick(BENCHMARKS, name, "benchmark") for name in arguments.names}
    scope = Scope(arguments.quick, arguments.full, arguments.figure, arguments.threads)
    console = Console()
    console.width = 100
    written = []
    for name, benchmark in benchmarks.items():
        rows = []
        with Console(stderr=True).status(f"timing: {name}") as status:
            for row in benchmark.rows(scope):
                rows.append(row)
                status.update(f"timed: {row.case}")
        console.print(as_table(name, rows))
        if benchmark.note is not None:
            console.print(benchmark.note(rows), highlight=False)
        written.append({"benchmark": name, "rows": [asdict(row) for row in rows]})
    if arguments.json is not None:
        storage.write_json(arguments.json, written[0] if len(written) == 1 else written)


def as_table(name: str, rows: Sequence[Row]) -> Table:
    """Rows for people."""
    table = Table("case", "rival", title=f"{name}: rival / ours", title_justify="left")
    for heading in ("ours, s", "rival, s", "ratio", "differ by", "peak, MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = None
    for row in rows:
        if last not in (None, row.case):
            table.add_section()
        table.add_row(
            row.case if row.case != last else "",
            row.rival,
            cell(row.ours_s, ".4g"),
            cell(row.rival_s, ".4g"),
            cell(row.ratio, ".3g"),
            cell(row.max_abs_difference, ".1e"),
            cell(row.peak_mib, ".0f"),
        )
        last = row.case
    return table


def cell(number: float | None, form: str) -> str:
    """A number, or a dash for none."""
    return "-" if number is None else format(number, form)


if __name__ == "__main__":
    try:
        main()
    except AdvDetectError as error:
        sys.exit(f"error: {error}")
