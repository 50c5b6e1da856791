"""Senders that post events one after the other, and each again until it is acknowledged."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from time import monotonic
from types import TracebackType
from typing import Any

from benchmarks.customers import SECRET, number_of

HEADERS = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
PAUSE = 0.02  # seconds before an event that was not acknowledged is sent again


def call_of(index: int) -> dict[str, Any]:
    """Return the call log of a call that is like no other's."""
    return {
        "fromNumber": number_of(index % 10_000_000),
        "toNumber": "+46846500400",
        "duration": 95_000,
        "startTime": 1_772_366_400_000 + index * 1000,
        "callType": "Outbound",
        "body": "Call type: Outbound",
    }


@dataclass
class Senders:
    """As many threads as there are ``clients``; ``customer_of`` says whose call an index is."""

    port: Callable[[], int]  # asked before every connection: machines come and go
    clients: int = 8
    customer_of: Callable[[int], str] = lambda _index: "acme"
    first: int = 0
    most: int | None = None
    pause: float = 0.0  # seconds between two events of a client
    acknowledged: dict[int, str] = field(default_factory=dict)  # the event's id by the call's index
    refused: int = 0  # answers that were none, or no 200
    _indices: Iterator[int] = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _more: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Senders:
        self._indices = count(self.first)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, number: int, seconds: float = 180.0) -> None:
        """Wait until so many are acknowledged."""
        until = monotonic() + seconds
        with self._more:
            while len(self.acknowledged) < number:
                assert self._more.wait(until - monotonic()), f"{len(self.acknowledged)} of {number} are acknowledged"

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port(), timeout=20)
        while not self._stop.wait(self.pause):
            index = next(self._indices)
            if self.most is not None and index >= self.most:
                break
            while not self._stop.is_set():
                if event_id := self._send(connection, index):
                    with self._more:
                        self.acknowledged[index] = event_id
                        self._more.notify_all()
                    break
                connection.close()
                connection = HTTPConnection("127.0.0.1", self.port(), timeout=20)
                self.refused += 1
                self._stop.wait(PAUSE)
        connection.close()

    def _send(self, connection: HTTPConnection, index: int) -> str | None:
        """Return the id under which the event is kept; ``None`` when nobody says so."""
        try:
            connection.request("POST", f"/{self.customer_of(index)}/calllog", json.dumps(call_of(index)), HEADERS)
            with connection.getresponse() as answer:
                told = json.loads(answer.read() or b"{}")
                return str(told["id"]) if answer.status == 200 else None
        except (OSError, HTTPException, ValueError):
            return None
