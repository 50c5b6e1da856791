"""Prints the promises that have a figure, each with its goal and a control that must fail.

``python -m tests.promises [P1 …] [--kills N] [--database sqlite] [--json | --rst]``; docs/promises.rst tells more.
The status is 1 when a promise was not kept or a control kept it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from benchmarks.table import FAIL, VOID, Figure, dump_json, dump_rst, say, show
from tests.promises import copies, lost, machines, once, restarts
from tests.promises.databases import DATABASES

Measure = Callable[[str, int], list[Figure]]
PROMISES: dict[str, Measure] = {
    "P1": lambda database, kills: [lost.measure(database, kills=kills, least=lost.LEAST * kills // lost.KILLS)],
    "P6": lambda database, _kills: [copies.measure(database)],
    "P8": lambda database, _kills: [restarts.measure(database)],
    # SQLite is of one machine
    "P18": lambda database, _kills: [machines.measure()] if database == "postgresql" else [],
    "P5": lambda database, kills: once.measure(database, kills=kills),
}


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="promise", help=f"of {', '.join(PROMISES)}; else all")
    parser.add_argument("--kills", type=int, default=lost.KILLS)
    parser.add_argument("--database", choices=DATABASES, action="append", help="else all")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--rst", action="store_true", help="as docs/promises.rst holds it")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PROMISES):
        parser.error(f"no promise is called {' or '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    for name in options.names or PROMISES:
        for database in options.database or DATABASES:
            say(f"{name}, {database} …")
            figures += PROMISES[name](database, options.kills)
    if options.json:
        sys.stdout.write(dump_json(figures))
    elif options.rst:
        sys.stdout.write(dump_rst(figures))
    else:
        show(figures)
    sys.exit(any(figure.verdict in {FAIL, VOID} for figure in figures))


if __name__ == "__main__":
    main()
