"""A small load generator: keep-alive connections on one event loop, latencies kept one by one.

Hand-written: it must run from a fresh clone, send a bearer header, and give every single latency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round measured: answers per second, latencies in milliseconds, answers that were not 200."""

    rate: float
    p50: float
    p99: float
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send requests: the paths are taken in turn."""

    port: int
    paths: Sequence[str]
    bearer: str


def run_round(target: Target, *, requests: int, connections: int) -> Round:
    """Send ``requests`` over ``connections`` as fast as they are answered."""
    return asyncio.run(_round(target, requests, connections))


async def _round(target: Target, requests: int, connections: int) -> Round:
    latencies: list[float] = []
    numbers = iter(range(requests))
    begin = time.perf_counter()
    failed = sum(await asyncio.gather(*(_client(target, numbers, latencies) for _ in range(connections))))
    took = time.perf_counter() - begin
    cuts = quantiles(latencies, n=100)
    return Round(rate=requests / took, p50=cuts[49] * 1000, p99=cuts[98] * 1000, failed=failed)


async def _client(target: Target, numbers: object, latencies: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    failed = 0
    for number in numbers:  # type: ignore[attr-defined]  # shared by the clients: each takes the next
        path = target.paths[number % len(target.paths)]
        begin = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer {target.bearer}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - begin)
        failed += not head.startswith(b"HTTP/1.1 200")
    writer.close()
    return failed
