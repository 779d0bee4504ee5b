"""What commands share: one-line errors, progress on standard error, tables and JSON."""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, TextIO

import typer

from advdetect.errors import AdvDetectError, AdvDetectWarning, InputError


@contextmanager
def one_line_errors(*, resumes: bool = False) -> Iterator[None]:
    """Print what the user can mend as one line, warnings too; let a bug keep its traceback.

    ``resumes``: interrupted, the same command goes on where it stopped.
    """
    try:
        with _one_line_warnings():
            yield
    except AdvDetectError as error:
        typer.secho(f"error: {' '.join(str(error).split())}", fg="red", err=True)
        raise typer.Exit(1) from None
    except BrokenPipeError:
        raise  # whoever read the output has seen enough, which typer knows to end on
    except OSError as error:
        if error.strerror is None:
            raise
        # A full disk, or a folder that may not be written to.
        where = "" if error.filename is None else f"{error.filename}: "
        typer.secho(f"error: {where}{error.strerror}", fg="red", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        what = "; the same command goes on where this one stopped" if resumes else ""
        typer.secho(f"interrupted{what}", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, AdvDetectWarning):
                typer.secho(f"warning: {message}", fg="yellow", err=True)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def take_any_name() -> None:
    """Read and print names of files that are no text, too: their odd bytes come as escapes."""
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def track(items: Sequence[Any], description: str) -> Iterable[Any]:
    """Show a progress bar on standard error; none where it is no terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        speed_estimate_period=1e9,  # rich forgets after 30 s, and a step may take longer
    ) as progress:
        task = progress.add_task(description, total=len(items))
        for item in items:
            if isinstance(item, tuple) and item and hasattr(item[0], "attack"):
                progress.update(task, description=f"{description}: {item[0]}")
            yield item
            progress.advance(task)


def tell(text: str) -> None:
    """Print a note on standard error."""
    typer.echo(text, err=True)


def prepare(threads: int | None, suite: str, surrogate: str | None) -> None:
    """Set the number of threads, and say what a suite leaves out."""
    import torch

    from advdetect.attacks import ATTACKS, SUITES

    if threads is not None:
        torch.set_num_threads(threads)
    left_out = [b for b in SUITES.get(suite, ()) if ATTACKS[b.attack].surrogate]
    if left_out and surrogate is None:
        tell(f"left out: {', '.join(map(str, left_out))}; give another model with --surrogate")


def print_json(content: Any) -> None:
    """Print JSON on standard output."""
    typer.echo(json.dumps(content, indent=1, allow_nan=False))


def print_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, figures: bool = True
) -> None:
    """Print a table that fits the terminal; columns after the first hold figures, or text."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if figures and i else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    Console().print(table)


def share(value: float | None) -> str:
    """Write a share as a percentage."""
    return "-" if value is None else f"{100 * value:.1f} %"


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read ``28`` or ``224x224`` as height and width.

    Raises:
        InputError: anything else.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) > 2:
        raise InputError(f"expected a size such as 28 or 224x224, got {text!r}")
    return int(parts[0]), int(parts[-1])


def parse_eps(text: str | None) -> float | None:
    """Read ``0.1`` or ``8/255``.

    Raises:
        InputError: anything else, or a negative number.
    """
    if text is None:
        return None
    above, slash, below = text.partition("/")
    try:
        value = float(above) / (float(below) if slash else 1)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"expected an eps such as 0.1 or 8/255, got {text!r}") from None
    if not 0 <= value < float("inf"):
        raise InputError(f"an eps is not negative and finite, got {text}")
    return value


def eps_text(eps: float | None) -> str:
    """Write an eps as n/255 where it is a whole number of grey levels, - for none."""
    from advdetect.attacks import base

    return "-" if eps is None else base.eps_text(eps)
