"""What a Redis that fails costs a lookup: cold ones of ever new numbers, in this process, at a CRM without delay.

Without Redis is the control from below; waiting half a second instead of 50 ms is the one from above: it must show.
``python -m benchmarks.redis_outage [--seconds N]``
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import ClassVar
from zoneinfo import ZoneInfo

from middleware import shared_store
from middleware.cli.server import free_port
from middleware.crm.base import Context, CRMAdapter
from middleware.generations import Generations
from middleware.lookup.card import Hit
from middleware.lookup.service import LookupService
from middleware.lookup.shared import SharedAnswers
from middleware.lookup.trace import Trace
from middleware.model.call import LookupQuery
from middleware.model.contact import Contact, ContactNumber
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber, parse_number
from middleware.shared_store import SharedStore
from middleware.tenants.tenant import LookupConfig, Source, Tenant

PER_SECOND = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSettings:
    """An adapter without settings."""


class Quick(CRMAdapter[NoSettings]):
    """A CRM that knows everybody."""

    name: ClassVar[str] = "quick"
    label: ClassVar[str] = "Quick"
    settings_type: ClassVar[type] = NoSettings

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> list[Contact]:
        """Return a contact with the number."""
        return [Contact(id="1", display_name="Ada Webb", numbers=(ContactNumber(number=str(number)),))]


TENANT = Tenant(
    id="acme",
    name="Acme",
    region="SE",
    timezone=ZoneInfo("Europe/Stockholm"),
    revision="1",
    secrets={},
    sources=(Source(name="quick", adapter=Quick(NoSettings())),),
    own_numbers=frozenset(),
    lookup=LookupConfig(),
)


@contextmanager
def _redis(*, is_frozen: bool = False) -> Iterator[str]:
    port = free_port()
    command = [shutil.which("redis-server") or "redis-server", "--port", str(port), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            any("Ready to accept connections" in line for line in server.stdout)
            if is_frozen:
                server.send_signal(signal.SIGSTOP)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()


@contextmanager
def _socket(*, is_open: bool) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        if not is_open:
            listener.close()
        yield f"redis://127.0.0.1:{port}"


def _measure(url: str | None, seconds: float) -> list[float]:
    """Return the milliseconds of each lookup, one every ten milliseconds."""
    took = []
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Generations(Path(folder) / "generations", b"benchmark")) as generations,
    ):
        shared = SharedAnswers(SharedStore(url, key=b"benchmark"), generations) if url else None
        service = LookupService(dump=lambda card, _: card.contact.id.encode(), generations=generations, shared=shared)
        begun = time.monotonic()
        for i in range(round(seconds * PER_SECOND)):
            time.sleep(max(0.0, begun + i / PER_SECOND - time.monotonic()))
            query = LookupQuery(
                number=parse_number(f"+4670174{i:04}", "SE"), to_number=None, user=None, numeric_id=None
            )
            at = time.perf_counter()
            answer = service.lookup(TENANT, query, Deadline.after(timedelta(seconds=2.6)), Trace())
            took.append((time.perf_counter() - at) * 1000)
            assert isinstance(answer, Hit), answer
        if shared:
            shared.close()
    return took


def _row(name: str, took: list[float]) -> None:
    over = sum(t > 25 for t in took)
    p99 = quantiles(took, n=100)[98]
    print(f"{name:<36} {median(took):8.2f} {p99:8.2f} {max(took):8.2f} {over:8} of {len(took)}", flush=True)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    seconds = parser.parse_args().seconds
    print(f"{'milliseconds':<36} {'p50':>8} {'p99':>8} {'max':>8} {'over 25 ms':>12}")
    _row("no Redis (control)", _measure(None, seconds))
    with _redis() as url:
        _row("Redis", _measure(url, seconds))
    with _socket(is_open=False) as url:
        _row("dead: the port is closed", _measure(url, seconds))
    with _socket(is_open=True) as url:
        _row("silent: listens, never answers", _measure(url, seconds))
    with _redis(is_frozen=True) as url:
        _row("frozen: SIGSTOP", _measure(url, seconds))
        shared_store.TIMEOUT = 0.5
        _row("frozen, waiting 500 ms (control)", _measure(url, seconds))


if __name__ == "__main__":
    main()
