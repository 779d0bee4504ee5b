"""advdetect attack."""

from pathlib import Path
from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import (
    eps_text,
    one_line_errors,
    parse_eps,
    parse_size,
    prepare,
    print_json,
    print_table,
    share,
    track,
)


def attack(
    model: o.Model,
    data: o.Data = "fashion-mnist",
    split: Annotated[
        str, typer.Option(help="reference, calibration, evaluation, train or test.")
    ] = "evaluation",
    suite: Annotated[
        str, typer.Option(help="Which attacks: quick, standard or strong.")
    ] = "standard",
    norm: Annotated[str | None, typer.Option(help="Only attacks of this norm.")] = None,
    eps: Annotated[str | None, typer.Option(help="Replace the budgets, e.g. 8/255.")] = None,
    limit: o.Limit = None,
    seed: o.Seed = 0,
    surrogate: o.Surrogate = None,
    workers: o.Workers = None,
    threads: o.Threads = None,
    ray: o.Ray = None,
    out: Annotated[Path, typer.Option(help="Run folder, resumed if begun.")] = Path("runs/attack"),
    weights: o.Weights = None,
    data_root: o.DataRoot = None,
    resize: o.Size = None,
    channels: o.Channels = None,
    as_json: o.Json = False,
) -> None:
    """Attack a model with a suite, and keep every adversarial example.

    Example: advdetect attack fashion-resnet --suite quick --limit 200 --out runs/quick
    """
    with one_line_errors(resumes=True):
        from advdetect import data as datasets
        from advdetect.networks import load_model
        from advdetect.workflows.attacking import attack_data, summarise

        wanted = parse_eps(eps)
        prepare(threads, suite, surrogate)
        size = parse_size(resize)
        loaded = load_model(model, weights=weights)
        images = datasets.load(
            data, split=split, limit=limit, data_root=data_root, resize=size, channels=channels
        )
        run, attacked = attack_data(
            loaded,
            images,
            out,
            suite=suite,
            norm=norm,
            eps=wanted,
            seed=seed,
            surrogate=None if surrogate is None else load_model(surrogate),
            workers=workers,
            ray=ray,
            track=track,
        )
        summary = summarise(run, attacked, images)
        if as_json:
            print_json(summary.to_json())
            return
        print_table(
            f"{summary.model} on {summary.data} ({summary.split}), "
            f"clean accuracy {share(summary.clean_accuracy)}",
            ("attack", "eps", "n", "success", "robust", "median size"),
            (
                (
                    line.attack,
                    eps_text(line.eps),
                    line.images,
                    share(line.success_rate),
                    share(line.robust_accuracy),
                    "-" if line.median_perturbation is None else f"{line.median_perturbation:.3f}",
                )
                for line in summary.attacks
            ),
        )
        typer.echo(f"kept in {summary.folder}")
