"""Prints the promises that have a figure, each with its goal and a control that must fail.

``python -m tests.promises [P1 …] [--full] [--database sqlite] [--json | --rst] [--write FILE]``; docs/promises.rst
tells more.
The status is 1 when a promise was not kept or a control kept it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import FAIL, VOID, Figure, dump_json, dump_rst, say, show
from tests.promises import broken_files, copies, fair, lost, machines, once, outage, restarts, throughput
from tests.promises.databases import DATABASES

KILLS, FEW_KILLS, MANY_KILLS = 60, 12, 1000
PROMISES: dict[str, Callable[[str, bool], list[Figure]]] = {
    "P1": lambda database, is_full: [lost.measure(database, kills=MANY_KILLS if is_full else KILLS)],
    "P5": lambda database, is_full: once.measure(database, kills=KILLS if is_full else FEW_KILLS),
    "P6": lambda database, _is_full: [copies.measure(database)],
    "P8": lambda database, _is_full: [restarts.measure(database)],
    "fair": lambda database, _is_full: [fair.measure(database)],
    "P17": lambda database, is_full: [
        outage.measure(database) if is_full else outage.measure(database, events=1000, outage=30.0)
    ],
    "throughput": lambda database, _is_full: throughput.measure(database),
    # customers' files have nothing to do with the database, and SQLite is of one machine
    "P9": lambda database, _is_full: [broken_files.measure()] if database == "sqlite" else [],
    "P18": lambda database, _is_full: [machines.measure()] if database == "postgresql" else [],
}


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="promise", help=f"of {', '.join(PROMISES)}; else all")
    parser.add_argument("--full", action="store_true", help="as often and as long as promised; hours")
    parser.add_argument("--database", choices=DATABASES, action="append", help="else all")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--rst", action="store_true", help="as docs/promises.rst holds it")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there, too, as a page")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PROMISES):
        parser.error(f"no promise is called {' or '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    for name in options.names or PROMISES:
        for database in options.database or DATABASES:
            say(f"{name}, {database} …")
            figures += PROMISES[name](database, options.full)
    if options.write:
        options.write.write_text(_page(figures))
    if options.json:
        sys.stdout.write(dump_json(figures))
    elif options.rst:
        sys.stdout.write(dump_rst(figures))
    else:
        show(figures)
    sys.exit(any(figure.verdict in {FAIL, VOID} for figure in figures))


def _page(figures: list[Figure]) -> str:
    title, command = "Promises, as they were measured last", " ".join(["python -m tests.promises", *sys.argv[1:]])
    told = f"By ``{command}``, on {datetime.now(UTC):%Y-%m-%d}; promises.rst tells more."
    return "\n".join([title, "=" * len(title), "", told, "", dump_rst(figures)])


if __name__ == "__main__":
    main()
