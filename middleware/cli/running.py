"""Commands that run something: ``demo``, ``serve``, ``worker``."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from middleware.cli.output import json_option, print_json, settings_of
from middleware.settings import Settings, load_settings

if TYPE_CHECKING:
    from middleware.demo.data import DemoCustomer

SERVER_FILE = "server.json"  # in the data folder: where the running server answers


@click.command()
@click.option("--port", default=8080, show_default=True, help="0 takes a free one.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep everything in DIR.", metavar="DIR")
@json_option
@click.pass_context
def demo(ctx: click.Context, port: int, data: Path | None, as_json: bool) -> None:
    """Run the middleware with two made-up customers and their CRMs."""
    from middleware.demo.data import build_demo

    data = data or ctx.find_root().obj
    folder = (data or Path(tempfile.mkdtemp(prefix="m8crm-demo-"))).resolve()
    status = 0
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the supervisor takes over: tidy up
        customers = build_demo(folder, now=datetime.now(UTC))
        settings = _placed(load_settings(folder), "127.0.0.1", port)
        settings = replace(settings, public_url=_local_url(settings))

        def tell() -> None:
            _remember(settings)
            print_json(_described(customers, settings)) if as_json else _print_demo(customers, settings)

        status = _supervise(settings, with_worker=True, tell=tell)
    finally:
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


@click.command()
@click.option("--host", help="Address to listen on (M8CRM_HOST).")
@click.option("--port", type=int, help="Port to listen on (M8CRM_PORT).")
@click.option("--web", is_flag=True, help="Without the worker: `m8crm worker` runs elsewhere.")
@json_option
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None, web: bool, as_json: bool) -> None:
    """Run the web server and the delivery worker, and start again what dies."""
    settings = settings_of(ctx)
    if host or port is not None:
        settings = _placed(settings, host or settings.host, settings.port if port is None else port)

    def tell() -> None:
        _remember(settings)
        if as_json:
            told = {"base_url": _local_url(settings), "public_url": settings.public_url}
            print_json({**told, "customers": str(settings.customers)})
        else:
            click.echo(f"m8crm answers at {_local_url(settings)}; customers: {settings.customers}")

    sys.exit(_supervise(settings, with_worker=not web, tell=tell))


@click.command()
@json_option
@click.pass_context
def worker(ctx: click.Context, as_json: bool) -> None:
    """Deliver calls into the CRMs until SIGTERM."""
    from middleware.app import build_lane, build_parts, build_watch, build_worker
    from middleware.logs import configure_logs

    settings = settings_of(ctx)
    configure_logs(settings.log_level, settings.log_format)
    parts = build_parts(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    delivering, fetching, watching = build_worker(parts), build_lane(parts), build_watch(parts)
    delivering.start()
    fetching.start()
    watching.start()
    if as_json:
        print_json({"status": "delivering", "pid": os.getpid()})
    stop.wait()
    watching.stop()
    fetching.stop()
    delivering.stop()
    parts.close()


def _placed(settings: Settings, host: str, port: int) -> Settings:
    if port == 0:
        port = _free_port(host)
    own = f"http://{settings.host}:{settings.port}"  # what load_settings takes when nothing is configured
    public_url = f"http://{host}:{port}" if settings.public_url == own else settings.public_url
    return replace(settings, host=host, port=port, public_url=public_url)


def _local_url(settings: Settings) -> str:
    """Return where this machine reaches the server."""
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - compared, not bound
    return f"http://{host}:{settings.port}"


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _supervise(settings: Settings, *, with_worker: bool, tell: object) -> int:
    from middleware.cli.supervisor import Supervisor
    from middleware.logs import configure_logs

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            reason = error.strerror
            raise click.ClickException(f"{settings.host}:{settings.port}: {reason}. Choose another --port.") from None
    configure_logs(settings.log_level, settings.log_format)
    return Supervisor(settings, with_worker=with_worker).run(on_ready=tell)  # type: ignore[arg-type]


def _remember(settings: Settings) -> None:
    told = {"base_url": _local_url(settings), "pid": os.getpid()}
    (settings.data / SERVER_FILE).write_text(json.dumps(told), encoding="utf-8")


def _described(customers: list[DemoCustomer], settings: Settings) -> dict[str, object]:
    def endpoint(customer: DemoCustomer, sender: str) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {customer.secrets['insights']}"}
        return {"url": f"{settings.public_url}/{customer.id}/{sender}", "headers": headers}

    return {
        "base_url": settings.public_url,
        "customers": [
            {
                "id": customer.id,
                "name": customer.name,
                "known_numbers": customer.known_numbers,
                "unknown_number": customer.unknown_number,
                "endpoints": {sender: endpoint(customer, sender) for sender in ("lookup", "calllog")},
            }
            for customer in customers
        ],
    }


def _print_demo(customers: list[DemoCustomer], settings: Settings) -> None:
    first = customers[0]
    at = f"{_myself()} --data {shlex.quote(str(settings.data))}"
    click.secho(f"\nm8crm answers at {settings.public_url}\n", bold=True)
    for customer in customers:
        click.echo(f"{customer.name}")
        click.echo(f"  lookup    {settings.public_url}/{customer.id}/lookup")
        click.echo(f"  call log  {settings.public_url}/{customer.id}/calllog")
        click.echo(f"  secret    {customer.secrets['insights']}")
        click.echo(f"  known     {', '.join(customer.known_numbers)}")
        click.echo(f"  unknown   {customer.unknown_number}\n")
    click.echo(f"API documentation: {settings.public_url}/-/docs   Data: {settings.data}\n")
    click.secho("Try next, in another terminal:", bold=True)
    number = first.known_numbers[0]
    click.echo(
        f"  curl -H 'Authorization: Bearer {first.secrets['insights']}' "
        f"'{settings.public_url}/{first.id}/lookup?fromNumber=%2B{number[1:]}'"
    )
    click.echo(f"  {at} lookup {first.id} '{number}'")
    click.echo(f"  {at} trigger {first.id} calllog && sleep 1 && {at} events list\n")
    click.echo("Stop with Ctrl-C.")


def _myself() -> str:
    """Return how this very m8crm is called from any folder, to be copied into a shell."""
    running = Path(sys.argv[0]).absolute()
    if running.name != "m8crm":  # python -m middleware.cli
        running = Path(sys.executable).with_name("m8crm")
    found = shutil.which("m8crm")
    return "m8crm" if found and Path(found).absolute() == running else shlex.quote(str(running))


COMMANDS = (demo, serve, worker)
