"""advdetect train."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import (
    one_line_errors,
    parse_eps,
    parse_size,
    print_json,
    print_table,
    share,
    tell,
)

if TYPE_CHECKING:
    from advdetect.ensembles import Step
    from advdetect.workflows.diary import Watch
    from advdetect.workflows.training import TrainingSummary


def train(
    out: Annotated[Path, typer.Option(help="Folder for the model.", show_default=False)],
    members: Annotated[int | None, typer.Option(help="How many networks; 1 by default.")] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="resnet (default), pooled-resnet, vgg, tiny-10 or package.module:factory."
        ),
    ] = None,
    data: o.Data = "fashion-mnist",
    penalty: Annotated[
        str | None,
        typer.Option(
            help="What members may not have in common: dcor, unbiased-dcor, partial-dcor, "
            "semi-partial-dcor, cka, gbs or bits."
        ),
    ] = None,
    weight: Annotated[float | None, typer.Option(help="Of the penalty; 1 by default.")] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="What the penalty compares: penultimate, last, or a recorded layer's name or "
            "pattern; may be repeated.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(help="MODEL beyond which one network is to know the labels."),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            help="Trained MODEL to train on from; it says the network. Repeated: the mean of "
            "their weights, which --epochs 0 leaves as it is.",
            show_default=False,
        ),
    ] = None,
    adversarial: Annotated[
        str | None, typer.Option(help="Learn from examples of fgsm, n-fgsm, pgd or trades.")
    ] = None,
    eps: Annotated[
        str | None, typer.Option(help="Linf budget of such examples; 8/255 by default.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="18 by default.")] = None,
    batch: Annotated[int | None, typer.Option(help="128 by default.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="0.2 by default.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 (default) or bfloat16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all that is random; 0.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of any of TrainingConfig's fields; options come before it."),
    ] = None,
    assignment: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any other field, e.g. --set weight_decay=0.002 or --set arguments.width=32.",
            show_default=False,
        ),
    ] = None,
    label_embedding: Annotated[
        Path | None,
        typer.Option(help="Array (classes, r) as .npy, instead of one-hot labels in penalties."),
    ] = None,
    split: o.Split = "train",
    limit: o.Limit = None,
    data_root: o.DataRoot = None,
    resize: o.Size = None,
    channels: o.Channels = None,
    as_json: o.Json = False,
) -> None:
    """Train a network, or several that are to solve the task in different ways.

    Interrupted, the same command goes on after the last finished epoch. Under torchrun, several
    processes share each batch.

    Example: advdetect train --members 2 --penalty partial-dcor --weight 4 --out models/pair
    """
    with one_line_errors(resumes=True):
        import shlex
        import sys

        from advdetect import data as datasets
        from advdetect.ensembles import TrainingConfig, assign, processes, read_toml
        from advdetect.workflows.training import read_embedding, train_model

        values: dict[str, Any] = {} if config is None else read_toml(config)
        options = {
            "members": members,
            "network": network,
            "penalty": penalty,
            "weight": weight,
            "layers": layers,
            "given": given,
            "start": start,
            "adversarial": adversarial,
            "eps": parse_eps(eps),
            "epochs": epochs,
            "batch": batch,
            "learning_rate": learning_rate,
            "precision": precision,
            "seed": seed,
        }
        # Together: options may mend what contradicts itself in the file.
        values |= {name: value for name, value in options.items() if value is not None}
        source = "options" if config is None else str(config)
        settings = TrainingConfig.of(assign(values, assignment or ()), source)
        size = parse_size(resize)
        images, test = (
            datasets.load(
                data, split=part, limit=limit, data_root=data_root, resize=size, channels=channels
            )
            for part in (split, "test" if split == "train" else "evaluation")
        )
        with _progress(settings.epochs) as watch:
            summary = train_model(
                settings,
                images,
                test,
                out,
                command=shlex.join(["advdetect", *sys.argv[1:]]),
                embedding=None if label_embedding is None else read_embedding(label_embedding),
                watch=watch,
            )
        if not processes.is_first():  # one speaks for all
            return
        if as_json:
            print_json(summary.to_json())
        else:
            _print(summary, test.split)


@contextmanager
def _progress(epochs: int) -> Iterator["Watch"]:
    """A bar, and a line for each epoch, on standard error; no bar where it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    from advdetect.ensembles import processes

    if not processes.is_first():
        yield lambda step: None
        return
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), Remaining())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("epoch 1")

        def watch(step: "Step") -> None:
            done = (step.epoch - 1) * step.steps + step.step
            text = f"epoch {step.epoch}/{epochs} loss {_several(step.losses)}"
            bar.update(task, total=epochs * step.steps, completed=done, description=text)
            if step.step == step.steps:
                alike = f", penalty {_several(step.penalties)}" if step.penalties else ""
                tell(
                    f"epoch {step.epoch}/{epochs}: loss {_several(step.losses)}, "
                    f"accuracy {_several(step.accuracies)}{alike} (last batch)"
                )

        yield watch


def _several(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _print(summary: "TrainingSummary", split: str) -> None:
    if summary.members:
        penalties = [last["penalty"] for last in summary.history[-1:]]  # of no epoch: none
        rows = [
            (
                f"member {i}",
                share(one.value),
                f"{share(one.low)} to {share(one.high)}",
                *(f"{last[i]:.3f}" for last in penalties if last),
            )
            for i, one in enumerate(summary.members)
        ]
        header = ["", "accuracy", "interval", *(["penalty"] if len(rows[0]) > 3 else [])]
        print_table(f"Members on the {split} split", header, rows)
    accuracy = summary.accuracy
    typer.echo(
        f"accuracy {share(accuracy.value)} [{share(accuracy.low)}, {share(accuracy.high)}] of "
        f"{accuracy.n} {split} images"
    )
    typer.echo(f"model in {summary.folder}")
