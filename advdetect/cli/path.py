"""advdetect path."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import (
    one_line_errors,
    parse_size,
    print_json,
    print_table,
    share,
    tell,
    track,
)

if TYPE_CHECKING:
    from advdetect.similarity.paths import Path as Traced


def path(
    models: o.Models,
    space: Annotated[
        str, typer.Option(help="Where to measure: angular-cka or angular-shape.")
    ] = "angular-cka",
    data: o.Data = "fashion-mnist",
    split: o.Split = "evaluation",
    limit: o.Limit = 500,
    layers: o.Layers = None,
    out: Annotated[Path, typer.Option(help="Where the figure goes.")] = Path("runs/path"),
    data_root: o.DataRoot = None,
    resize: o.Size = None,
    channels: o.Channels = None,
    as_json: o.Json = False,
) -> None:
    """Follow networks from the pixels to the labels, layer by layer, as paths.

    A step is how far a layer moves the representation, a turn the angle at it (180 is straight
    on), the rest how near it is to the labels; distances are angles, in degrees.

    Example: advdetect path fashion-resnet --limit 300
    """
    with one_line_errors():
        from advdetect import data as datasets
        from advdetect.workflows.drawing import write_paths
        from advdetect.workflows.models import load_networks
        from advdetect.workflows.pathing import trace_networks

        size = parse_size(resize)
        images = datasets.load(
            data, split=split, limit=limit, data_root=data_root, resize=size, channels=channels
        )
        networks = load_networks(models, images)
        found = trace_networks(networks, images, space=space, layers=layers, track=track)
        if as_json:
            print_json(found.to_json())
        else:
            for name, traced in found.networks.items():
                print_table(
                    f"{name}: {found.images} images, {space}",
                    ("layer", "step", "turn", "to labels", "on the way", "off it"),
                    _lines(traced),
                )
                typer.echo(
                    f"length {degrees(traced.length)}, straightness {traced.straightness:.3f}\n"
                )
        for file in write_paths(found, out):
            tell(f"wrote {file}")


def _lines(traced: "Traced") -> Iterator[tuple[str, ...]]:
    steps = (None, *traced.step_lengths)
    turns = (None, *traced.turning_angles, None)
    for i, layer in enumerate(traced.layers):
        yield (
            layer,
            degrees(steps[i]),
            degrees(turns[i]),
            degrees(traced.target_distances[i]),
            share(traced.target_shares[i]),
            degrees(traced.target_offsets[i]),
        )


def degrees(radians: float | None) -> str:
    """Write an angle in degrees, - for none."""
    return "-" if radians is None else f"{math.degrees(radians):.1f}"
