"""advdetect compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import one_line_errors, parse_size, print_json, print_table, tell, track

if TYPE_CHECKING:
    from advdetect.workflows.comparing import Comparison
    from advdetect.workflows.conditioning import Knowledge


def compare(
    models: o.Models,
    measure: Annotated[
        str, typer.Option(help="How to compare; see: advdetect list measures.")
    ] = "unbiased_linear_cka",
    given: Annotated[
        str | None,
        typer.Option(help="With --to: what the models know beyond this one.", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="With --given: know of what; labels.", show_default=False)
    ] = None,
    data: o.Data = "fashion-mnist",
    split: o.Split = "evaluation",
    limit: o.Limit = 2000,
    batch: Annotated[
        int, typer.Option(min=4, help="Images at a time; results are averaged.")
    ] = 500,
    layers: o.Layers = None,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="Average each channel over the picture first.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where heat maps go.")] = Path("runs/compare"),
    data_root: o.DataRoot = None,
    resize: o.Size = None,
    channels: o.Channels = None,
    as_json: o.Json = False,
) -> None:
    """Compare networks layer by layer: which layers correspond, and how alike they are.

    With --given B --to labels: what each layer knows of the labels that B does not (partial
    distance correlation).

    Example: advdetect compare tiny-10/seed-0 tiny-10/seed-1 --measure graph_similarity
    --data cifar10 --out runs/compare
    """
    with one_line_errors():
        from advdetect import data as datasets
        from advdetect.workflows.comparing import compare_networks
        from advdetect.workflows.conditioning import check_conditions, knowledge_beyond
        from advdetect.workflows.drawing import write_comparisons
        from advdetect.workflows.models import load_networks
        from advdetect.workflows.representing import View

        check_conditions(models, given, to)
        size = parse_size(resize)
        images = datasets.load(
            data, split=split, limit=limit, data_root=data_root, resize=size, channels=channels
        )
        view = View(layers, pooled, batch)
        if given is not None:
            *networks, other = load_networks([*models, given], images).items()
            known = [
                knowledge_beyond(own, other, images, view=view, track=track) for own in networks
            ]
            _show_knowledge(known, as_json)
            return
        found = compare_networks(
            load_networks(models, images), images, (measure,), view=view, track=track
        )
        _show(found, as_json)
        for file in write_comparisons(found, out):
            tell(f"wrote {file}")


def _show(found: "tuple[Comparison, ...]", as_json: bool) -> None:
    if as_json:
        print_json([comparison.to_json() for comparison in found])
        return
    for comparison in found:
        print_table(
            f"{comparison.measure}, {comparison.images} images, {comparison.batch} at a time",
            (comparison.first, f"most alike in {comparison.second}", "similarity"),
            ((m.layer, m.found, f"{m.similarity:.3f}") for m in comparison.forward),
        )
        if comparison.found is not None:
            right, n = comparison.found
            typer.echo(f"layers that find their namesake, both ways: {right} of {n}")


def _show_knowledge(known: "list[Knowledge]", as_json: bool) -> None:
    if as_json:
        print_json([knowledge.to_json() for knowledge in known])
        return
    for knowledge in known:
        print_table(
            f"{knowledge.network} and the labels, given {knowledge.given} "
            f"({knowledge.given_layer}); {knowledge.images} images, {knowledge.batch} at a time",
            ("layer", "squared dCor to labels", "partial, given the other"),
            (
                (line.layer, f"{line.labels:.3f}", f"{line.labels_beyond:.3f}")
                for line in knowledge.layers
            ),
        )
