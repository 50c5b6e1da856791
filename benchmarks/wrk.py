"""As many lookups as a server answers (closed loop), by wrk: a generator in Python would be the bottleneck.

wrk counts; that the answers are right is checked by ``benchmarks.load`` in the same round.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import Ask

_SCRIPT = """
local asks, sent = {%s}, 0
request = function() sent = sent %% #asks + 1; return asks[sent] end
done = function(summary)
  local e = summary.errors
  io.write(string.format('{"took": %%f, "answers": %%d, "failed": %%d}\\n', summary.duration / 1e6, summary.requests,
    e.connect + e.read + e.write + e.status))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``answers``, of which ``failed`` (late ones are none), and ``per_second``; ``busy``: wrk's share of its core."""

    answers: int
    per_second: float
    failed: int
    busy: float


def run_closed(port: int, asks: Sequence[Ask], *, seconds: float, connections: int = 32) -> Rate:
    """Send ``asks`` in turn over ``connections``, each as soon as the one before it is answered."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing; install it: apt-get install wrk")
    with TemporaryDirectory() as folder:
        script = Path(folder) / "asks.lua"
        script.write_text(_SCRIPT % ", ".join(json.dumps(ask.raw.decode("ascii")) for ask in asks))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{port}"]
        begin, cpu = time.perf_counter(), _children()
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        busy = (_children() - cpu) / (time.perf_counter() - begin)
    return parse(told, busy)


def parse(told: str, busy: float) -> Rate:
    """Read the line that our script has wrk write."""
    counted = json.loads(told.splitlines()[-1])
    return Rate(
        answers=counted["answers"], per_second=counted["answers"] / counted["took"], failed=counted["failed"], busy=busy
    )


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of those that have ended
    return usage.ru_utime + usage.ru_stime
