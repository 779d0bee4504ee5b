"""advdetect serve."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import one_line_errors, tell


def serve(
    guard: o.GuardName,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080,
    max_batch: Annotated[int, typer.Option(help="Most inputs judged together.")] = 64,
    max_delay_ms: Annotated[
        float, typer.Option(help="How long an input waits for others to be judged with.")
    ] = 5.0,
    max_queue: Annotated[int, typer.Option(help="Most inputs that wait; then 503.")] = 1024,
    max_inputs: Annotated[int, typer.Option(help="Most inputs of one request.")] = 256,
    max_bytes: Annotated[int, typer.Option(help="Most bytes of one request.")] = 16 * 2**20,
    max_pixels: Annotated[int, typer.Option(help="Most pixels of one picture.")] = 2**24,
    timeout: Annotated[float, typer.Option(help="Seconds for a request; then 503.")] = 10.0,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must show.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow other hosts than this without a token.")
    ] = False,
    page: Annotated[
        bool,
        typer.Option(
            "--page/--no-page", help="Serve the page at /, with samples, reasons and attacks."
        ),
    ] = True,
    threads: o.Threads = None,
) -> None:
    """Judge pictures over HTTP, until SIGTERM; SIGHUP loads the guard anew.

    Example: advdetect serve fashion-resnet
    """
    with one_line_errors():
        from advdetect.service.extra import check_extra
        from advdetect.service.settings import Settings, read_token

        check_extra()
        settings = Settings(
            host=host,
            port=port,
            max_batch=max_batch,
            max_delay=max_delay_ms / 1000,
            max_queue=max_queue,
            max_inputs=max_inputs,
            max_bytes=max_bytes,
            max_pixels=max_pixels,
            timeout=timeout,
            token=read_token(token_file),
            insecure=insecure,
            page=page,
        )
        from advdetect.service.running import serve as run

        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("advdetect").setLevel(logging.INFO)
        run(guard, settings, tell=tell)
