"""Prints the figures with their goals, the peers beside us in the same run.

``python -m benchmarks [row …] [--rounds N] [--events N] [--database NAME] [--json | --rst]``; docs/performance.rst
tells more.  The status is 1 when a goal was missed or a control reached it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import resource
import signal
import sys
import time
from pathlib import Path

from benchmarks.peers import peer_versions
from benchmarks.servers import free_load_core
from benchmarks.table import FAIL, VOID, Figure, dump_json, dump_rst, say, show

ROWS = ("cached", "cold", "herd", "flood", "isolation", "many", "ingest", "index", "adapters", "console", "gauntlet")


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"of {', '.join(ROWS)}; else all")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement, alternating with the peers'")
    parser.add_argument("--events", type=int, default=1_000_000, help="of the row console")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite", help="of the row console")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="with every round")
    form.add_argument("--rst", action="store_true", help="as docs/performance.rst holds it")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no row is called {' or '.join(sorted(unknown))}")
    os.environ.update(BENCH_EVENTS=str(options.events), BENCH_DATABASE=options.database)
    begin = time.monotonic()
    load = os.getloadavg()[0]
    say(f"{platform.machine()}, {os.cpu_count()} cores, load average {load:.1f}: what others do is in the figures, too")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are stopped then, too
    free_load_core()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # thousands of connections
    figures: list[Figure] = []
    for name in options.rows or ROWS:
        say(f"{name} …")
        figures += importlib.import_module(f"benchmarks.rows.{name}").measure(options.rounds)
    if options.json:
        print(dump_json(figures))
    elif options.rst:
        print(dump_rst(figures))
    else:
        show(figures)
    say(f"Python {platform.python_version()} ({Path(sys.executable).resolve()}), {peer_versions()}")
    say(f"{options.rounds} rounds in {time.monotonic() - begin:.0f} s")
    sys.exit(any(figure.verdict in {FAIL, VOID} for figure in figures))


if __name__ == "__main__":
    main()
