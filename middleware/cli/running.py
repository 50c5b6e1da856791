"""Commands that run something: ``demo``, ``serve``, ``worker``."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from middleware.cli.demo_console import fill_console, open_console
from middleware.cli.demo_words import describe_demo, print_demo
from middleware.cli.output import json_option, print_json, settings_of
from middleware.cli.server import assert_free, free_port, local_url, remember_server
from middleware.settings import Settings, address, load_settings

PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--port", type=PORT, default=8080, show_default=True, help="0 takes a free one.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep everything in DIR.", metavar="DIR")
@json_option
@click.pass_context
def demo(ctx: click.Context, port: int, data: Path | None, as_json: bool) -> None:
    """Run the middleware with two made-up customers, their CRMs, and the console to look at them."""
    from middleware.demo.data import build_demo

    data = data or ctx.find_root().obj
    folder = (data or Path(tempfile.mkdtemp(prefix="m8crm-demo-"))).resolve()
    status = 0
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the supervisor takes over: tidy up
        customers = build_demo(folder, now=datetime.now(UTC))
        settings = _placed(load_settings(folder), "127.0.0.1", port)
        settings = replace(settings, public_url=local_url(settings), console=True)
        account = open_console(settings)

        def tell() -> None:
            remember_server(settings)
            if account.is_new:
                fill_console(customers, settings)
            if as_json:
                print_json(describe_demo(customers, account, settings))
            else:
                print_demo(customers, account, settings)

        status = _supervise(settings, with_worker=True, tell=tell)
    finally:
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


@click.command()
@click.option("--host", help="Address to listen on (M8CRM_HOST).")
@click.option("--port", type=PORT, help="Port to listen on (M8CRM_PORT).")
@click.option("--web", is_flag=True, help="Without the worker: `m8crm worker` runs elsewhere.")
@json_option
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None, web: bool, as_json: bool) -> None:
    """Run the web server and the delivery worker, and start again what dies."""
    settings = settings_of(ctx)
    if host or port is not None:
        settings = _placed(settings, host or settings.host, settings.port if port is None else port)

    def tell() -> None:
        remember_server(settings)
        if as_json:
            told = {"base_url": local_url(settings), "public_url": settings.public_url}
            print_json({**told, "customers": str(settings.customers)})
        else:
            click.echo(f"m8crm answers at {local_url(settings)}; customers: {settings.customers}")

    sys.exit(_supervise(settings, with_worker=not web, tell=tell))


@click.command()
@json_option
@click.pass_context
def worker(ctx: click.Context, as_json: bool) -> None:
    """Deliver calls into the CRMs until SIGTERM; end with 1 when a thread has died, to be started again."""
    from middleware.logs import configure_logs
    from middleware.parts import build_index_lane, build_lane, build_parts, build_watch, build_worker, mind_threads

    settings = settings_of(ctx)
    configure_logs(settings.log_level, settings.log_format)
    parts = build_parts(settings)
    stop, broken = threading.Event(), threading.Event()

    def end() -> None:
        broken.set()
        stop.set()

    mind_threads(end)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    running = build_worker(parts), build_lane(parts), build_index_lane(parts), build_watch(parts)
    for one in running:
        one.start()
    if as_json:
        print_json({"status": "delivering", "pid": os.getpid()})
    stop.wait()
    for one in reversed(running):
        one.stop()
    parts.close()
    sys.exit(broken.is_set())


def _placed(settings: Settings, host: str, port: int) -> Settings:
    host = host.strip("[]")
    if port == 0:
        with _refused(host, port):
            port = free_port(host)
    public_url = f"http://{address(host, port)}" if settings.is_url_default else settings.public_url
    return replace(settings, host=host, port=port, public_url=public_url)


@contextmanager
def _refused(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        other = "--port" if error.errno in {errno.EADDRINUSE, errno.EACCES} else "--host"
        raise click.ClickException(f"{address(host, port)}: {error.strerror}. Choose another {other}.") from None


def _supervise(settings: Settings, *, with_worker: bool, tell: object) -> int:
    from middleware.cli.supervisor import Supervisor, given_sockets
    from middleware.logs import configure_logs

    if not given_sockets():
        with _refused(settings.host, settings.port):
            assert_free(settings.host, settings.port)
    configure_logs(settings.log_level, settings.log_format)
    return Supervisor(settings, with_worker=with_worker).run(on_ready=tell)  # type: ignore[arg-type]


COMMANDS = (demo, serve, worker)
