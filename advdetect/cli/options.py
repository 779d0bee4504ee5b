"""Options that several commands take, described once."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        help="A shipped model (see: advdetect list models), a model's folder, torchvision:NAME, "
        "timm:NAME, or package.module:factory.",
        show_default=False,
    ),
]
Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Models, each as for advdetect attack: a shipped name, a folder, torchvision:NAME, "
        "timm:NAME, or package.module:factory.",
        show_default=False,
    ),
]
GuardName = Annotated[
    str,
    typer.Argument(help="A guard's folder, or a shipped model's name.", show_default=False),
]
Weights = Annotated[
    Path | None,
    typer.Option(help="State dict for the model: .safetensors, or .pt (tensors only)."),
]
Data = Annotated[
    str,
    typer.Option(help="A data set's name, a folder with one folder per class, or an .npz file."),
]
DataRoot = Annotated[Path | None, typer.Option(help="Where downloaded data sets lie.")]
Size = Annotated[
    str | None, typer.Option("--resize", help="Resize the data's pictures, e.g. 224 or 32x32.")
]
Channels = Annotated[
    int | None, typer.Option(help="Turn the data grey (1) or coloured (3) for the model.")
]
Split = Annotated[str, typer.Option(help="reference, calibration, evaluation, train or test.")]
Layers = Annotated[
    list[str] | None,
    typer.Option(help="Only layers of this name or pattern; may be repeated.", show_default=False),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use at most so many images.")]
Seed = Annotated[int, typer.Option(help="Seed of all that is random.")]
Surrogate = Annotated[
    str | None,
    typer.Option(help="Another MODEL, on which transfer attacks are made; without: left out."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that attack; each uses as many threads as this one."),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads of each process; torch's own choice by default."),
]
Ray = Annotated[
    str | None,
    typer.Option(help="A Ray cluster's address (host:port, auto, local): its hosts attack."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
