"""How many requests a budget of 500 lets through when four processes want more, and what each costs.

Our ledgers (the machine's file, Redis) beside the buckets of pyrate-limiter that several processes can share.
Two figures of each round: requests that were let through, which must be 500, and the microseconds of one process
alone.  The processes' clocks are 20 ms apart.  ``python -m benchmarks.budgets [--rounds N]`` wants redis-server and
``pip install pyrate-limiter filelock``.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from middleware.cli.server import free_port
from middleware.crm.budget import Budget, Lane, Ledger
from middleware.crm.redis_budget import RedisBudget
from middleware.shared_store import SharedStore

REQUESTS, PROCESSES = 500, 4
APART = 0.02  # seconds between the clocks of two processes, as those of machines are
BUDGET = Budget(REQUESTS, timedelta(minutes=10))
Take = Callable[[], bool]


def _ours_file(folder: str, _url: str, _clock: float) -> Take:
    ledger = Ledger(Path(folder) / "ledger")
    return lambda: ledger.take(BUDGET, Lane.LOOKUP) == 0


def _ours_redis(_folder: str, url: str, _clock: float) -> Take:
    budget = RedisBudget(SharedStore(url, key=b"benchmark"), "benchmark")
    return lambda: budget.take(BUDGET, Lane.LOOKUP) == 0


def _pyrate_redis(_folder: str, url: str, clock: float) -> Take:
    pyrate = importlib.import_module("pyrate_limiter")
    client = importlib.import_module("redis").Redis.from_url(url)
    return _putting(pyrate.RedisBucket.init(_rates(pyrate), client, "benchmark"), pyrate, clock)


def _pyrate_sqlite(folder: str, _url: str, _clock: float) -> Take:
    pyrate = importlib.import_module("pyrate_limiter")
    bucket = pyrate.SQLiteBucket.init_from_file(_rates(pyrate), db_path=f"{folder}/bucket", use_file_lock=True)
    lock, put = bucket.limiter_lock(), _putting(bucket, pyrate)

    def take() -> bool:
        with lock:
            return put()

    return take


def _rates(pyrate: Any) -> list[Any]:
    return [pyrate.Rate(REQUESTS, 600_000)]


def _putting(bucket: Any, pyrate: Any, clock: float = 0) -> Take:
    return lambda: bool(bucket.put(pyrate.RateItem("request", round((time.time() + clock) * 1000))))


WAYS: dict[str, Callable[[str, str, float], Take]] = {
    "ours, file": _ours_file,
    "ours, Redis": _ours_redis,
    "pyrate-limiter, Redis": _pyrate_redis,
    "pyrate-limiter, SQLite and file lock": _pyrate_sqlite,
}


def _work(
    way: str, folder: str, url: str, clock: float, begin: threading.Barrier, results: multiprocessing.Queue[int]
) -> None:
    take, count = WAYS[way](folder, url, clock), 0
    begin.wait(60)
    while take():
        count += 1
    results.put(count)


def _admitted(way: str, url: str) -> int:
    spawn = multiprocessing.get_context("spawn")
    begin, results = spawn.Barrier(PROCESSES), spawn.Queue()
    with tempfile.TemporaryDirectory() as folder:
        WAYS[way](folder, url, 0)  # makes what is shared
        workers = [
            spawn.Process(target=_work, args=(way, folder, url, number * APART, begin, results))
            for number in range(PROCESSES)
        ]
        for worker in workers:
            worker.start()
        total: int = sum(results.get(timeout=30) for _ in workers)
        for worker in workers:
            worker.join()
    return total


def _microseconds(way: str, url: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        take = WAYS[way](folder, url, 0)
        began = time.perf_counter()
        for _ in range(REQUESTS):
            assert take()
        return (time.perf_counter() - began) / REQUESTS * 1e6


@contextmanager
def _redis() -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert any("Ready to accept connections" in line for line in server.stdout)
        yield f"redis://127.0.0.1:{port}"
        server.kill()


def main() -> None:
    """Print one line per way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = range(parser.parse_args().rounds)
    with _redis() as url:
        flush = importlib.import_module("redis").Redis.from_url(url).flushall
        admitted: dict[str, list[int]] = {way: [] for way in WAYS}
        costs: dict[str, list[float]] = {way: [] for way in WAYS}
        for way in (way for _ in rounds for way in WAYS):
            flush()
            admitted[way].append(_admitted(way, url))
            flush()
            costs[way].append(_microseconds(way, url))
    for way in WAYS:
        least, most = min(admitted[way]), max(admitted[way])
        print(f"{way:38} let through {least} to {most} of {REQUESTS}, {median(costs[way]):5.0f} µs")


if __name__ == "__main__":
    main()
