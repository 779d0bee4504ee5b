"""advdetect serve."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from advdetect.cli import options as o
from advdetect.cli.terminal import one_line_errors, tell


def serve(
    guard: o.GuardName,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own guard.")] = 1,
    max_batch: Annotated[int, typer.Option(help="Most inputs judged together.")] = 64,
    max_delay_ms: Annotated[
        float, typer.Option(help="How long an input waits for others to be judged with.")
    ] = 5.0,
    max_queue: Annotated[int, typer.Option(help="Most inputs that wait; then 503.")] = 1024,
    max_inputs: Annotated[int, typer.Option(help="Most inputs of one request.")] = 256,
    max_bytes: Annotated[int, typer.Option(help="Most bytes of one request.")] = 16 * 2**20,
    max_pixels: Annotated[int, typer.Option(help="Most pixels of one picture.")] = 2**24,
    timeout: Annotated[float, typer.Option(help="Seconds for a request; then 503.")] = 10.0,
    max_connections: Annotated[
        int, typer.Option(help="Most connections at a time, of each worker; then 503.")
    ] = 2048,
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
    access_log: Annotated[bool, typer.Option(help="Log a line for each request.")] = True,
    log_format: Annotated[str, typer.Option(help="text, or json: an object a line.")] = "text",
) -> None:
    """Judge pictures over HTTP, until SIGTERM; SIGHUP loads the guard anew.

    Example: advdetect serve fashion-resnet
    """
    with one_line_errors():
        from advdetect.errors import InputError
        from advdetect.service.extra import check_extra
        from advdetect.service.logs import FORMS, start_log
        from advdetect.service.settings import Settings, read_token

        check_extra()
        if log_format not in FORMS:
            raise InputError(f"a log is written as {' or '.join(FORMS)}, not as {log_format!r}")
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
            max_connections=max_connections,
            page=page,
        )
        log_to = start_log(log_format, access=access_log)

        def say(text: str) -> None:
            with suppress(OSError):  # a full disk is no reason not to serve
                tell(text)

        if workers == 1:
            from advdetect.service.running import serve as run

            if threads is not None:
                import torch

                torch.set_num_threads(threads)
            run(guard, settings, tell=say, log_to=log_to)
            return
        from advdetect.service.false_warnings import RATE
        from advdetect.service.supervising import supervise

        supervise(
            guard,
            settings,
            workers=workers,
            threads=threads,
            form=log_format,
            access=access_log,
            rate=RATE,
            tell=say,
        )
