"""Lookups per second and their latency, cached and cold, beside a bare Flask view in the same run.

Every server is one gunicorn worker pinned to one core; the load comes from the other.  Rounds alternate
(A B C A B C …) since machines are noisy: trust the ratios.  ``python -m benchmarks.lookup [--rounds N]``
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.load import Round, Target, run_round
from middleware.demo.data import build_demo

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = "0", "1"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _server(app: str, **environ: str) -> Iterator[int]:
    """Run ``app`` on one worker on the server's core, with the product's own gunicorn settings."""
    port = _free_port()
    env = {**os.environ, "M8CRM_PORT": str(port), "M8CRM_WEB_WORKERS": "1", "M8CRM_DELIVERY": "false", **environ}
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config" / "gunicorn.conf.py"), app]
    pinned = ["taskset", "-c", SERVER_CORE, *command]
    with subprocess.Popen(pinned, env=env, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def _without_cache(folder: Path) -> None:
    """Make the second customer's lookups cold: nothing is kept."""
    file = folder / "customers" / "harbour.toml"
    file.write_text(file.read_text().replace("[lookup]", '[lookup]\ncache_hit = "0s"\ncache_miss = "0s"\nslots = 64'))


def _row(name: str, rounds: list[Round]) -> str:
    rates = [r.rate for r in rounds]
    spread = f"{median(rates):7.0f} ({min(rates):.0f}-{max(rates):.0f})"
    p50, p99 = median(r.p50 for r in rounds), median(r.p99 for r in rounds)
    return f"{name:<26} {spread:>24} {p50:9.2f} {p99:9.2f} {sum(r.failed for r in rounds):7}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000, help="per round; cold ones a tenth of it")
    options = parser.parse_args()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    with tempfile.TemporaryDirectory() as folder:
        nordlys, harbour = build_demo(Path(folder), now=datetime.now(UTC))
        _without_cache(Path(folder))
        secret, number = nordlys.secrets["insights"], nordlys.known_numbers[0]
        path = f"/nordlys/lookup?fromNumber=%2B{number[1:]}"
        cold_paths = [f"/harbour/lookup?fromNumber=%2B{n[1:]}" for n in harbour.known_numbers]
        ours = {"M8CRM_DATA": folder, "M8CRM_CUSTOMERS": f"{folder}/customers", "M8CRM_LOG_LEVEL": "WARNING"}
        body = Path(folder) / "body.json"
        with _server("wsgi:app", **ours) as port:
            url = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {secret}"}
            )
            with urllib.request.urlopen(url) as answer:
                body.write_bytes(answer.read())
            json.loads(body.read_bytes())
            with _server("benchmarks.bare:app", BENCH_BODY=str(body), BENCH_SECRET=secret) as bare_port:
                targets = {
                    "bare Flask view": (Target(port=bare_port, paths=[path], bearer=secret), options.requests, 32),
                    "m8crm, cached": (Target(port=port, paths=[path], bearer=secret), options.requests, 32),
                    "m8crm, cold (SQLite CRM)": (
                        Target(port=port, paths=cold_paths, bearer=harbour.secrets["insights"]),
                        options.requests // 10,
                        4,
                    ),
                }
                rounds: dict[str, list[Round]] = {name: [] for name in targets}
                for _ in range(options.rounds):
                    for name, (target, requests, connections) in targets.items():
                        rounds[name].append(run_round(target, requests=requests, connections=connections))
        print(f"{len(body.read_bytes())} bytes an answer, {options.rounds} alternating rounds, one server core")
        print(f"{'':<26} {'lookups/s (spread)':>24} {'p50 ms':>9} {'p99 ms':>9} {'failed':>7}")
        for name, measured in rounds.items():
            print(_row(name, measured))
        ratio = median(r.rate for r in rounds["m8crm, cached"]) / median(r.rate for r in rounds["bare Flask view"])
        print(f"cached against bare Flask: {ratio:.2f}")
        failed = sum(r.failed for measured in rounds.values() for r in measured)
        sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
