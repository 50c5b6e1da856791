"""Starts what is measured, each server in processes of its own on cores of its own, and stops it again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.adapter import ENTRY_POINTS
from middleware.cli.server import free_port

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = str(CORES[0]), str(CORES[-1])
BOTH_CORES = f"{SERVER_CORE},{LOAD_CORE}"
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that answers on ``port``; ``took`` seconds passed from its start to its first answer."""

    port: int
    pid: int
    took: float

    def memory(self) -> int:
        """Return the bytes that its processes hold, shared pages counted once."""
        return sum(_pss(pid) for pid in _family(self.pid))

    def cpu(self) -> float:
        """Return the processor seconds that its processes have used."""
        return sum(_cpu(pid) for pid in _family(self.pid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub(Server):
    """The CRM stub; see :mod:`benchmarks.stub` for what a CRM can be told."""

    def url(self, crm: str) -> str:
        """Return the address of one CRM."""
        return f"http://127.0.0.1:{self.port}/{crm}"

    def tell(self, crm: str, **behaviour: object) -> None:
        """Set how a CRM behaves."""
        self._control(crm, json.dumps(behaviour).encode())

    def seen(self, crm: str) -> dict[str, Any]:
        """Return how a CRM behaves and what it has seen."""
        return self._control(crm)

    def _control(self, crm: str, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/{crm}", body, timeout=20) as answer:
            seen: dict[str, Any] = json.loads(answer.read())
            return seen


@contextmanager
def run_stub(core: str | None = LOAD_CORE) -> Iterator[Stub]:
    """Run the CRM stub."""
    begin = time.perf_counter()
    command = _pinned(core, [sys.executable, "-m", "benchmarks.stub"])
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        yield Stub(port=port, pid=process.pid, took=time.perf_counter() - begin)


@contextmanager
def run_m8crm(
    folder: Path,
    *,
    core: str | None = SERVER_CORE,
    workers: int = 1,
    environ: Mapping[str, str] | None = None,
    with_console: bool = False,
) -> Iterator[Server]:
    """Run m8crm under the product's own gunicorn settings; ``folder`` holds ``customers/`` and all data.

    ``with_console`` it is all that ``m8crm serve --web`` runs, on the same core.
    """
    port = free_port()
    plugin = folder / "plugin" / "benchmarks-1.dist-info"
    plugin.mkdir(parents=True, exist_ok=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmarks\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text(ENTRY_POINTS)
    settings = {
        "M8CRM_PORT": str(port),
        "M8CRM_WEB_WORKERS": str(workers),
        "M8CRM_DATA": str(folder),
        "M8CRM_CUSTOMERS": str(folder / "customers"),
        "M8CRM_DELIVERY": "false",
        "M8CRM_CONSOLE": str(with_console).lower(),
        "PYTHONPATH": os.pathsep.join([str(plugin.parent), str(ROOT)]),
    }
    gunicorn = ["gunicorn", "-c", str(ROOT / "config" / "gunicorn.conf.py"), "wsgi:app"]
    command = [sys.executable, "-m", *(["middleware.cli", "serve", "--web"] if with_console else gunicorn)]
    begin = time.perf_counter()
    with _process(_pinned(core, command), env={**settings, **(environ or {})}) as process:
        yield _ready(process, port, begin)


@contextmanager
def run_gthread(
    app: str, *, environ: Mapping[str, str], threads: int = 32, core: str = SERVER_CORE
) -> Iterator[Server]:
    """Run a WSGI ``app`` the plain way: gunicorn, one worker with threads."""
    port = free_port()
    options = [
        "-k",
        "gthread",
        "--threads",
        str(threads),
        "--keep-alive",
        "15",
        "--graceful-timeout",
        "1",
        "-b",
        f"127.0.0.1:{port}",
    ]
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", *options, app]
    begin = time.perf_counter()
    with _process(_pinned(core, command), env=environ) as process:
        yield _ready(process, port, begin)


@contextmanager
def run_node(script: Path, *, core: str | None = SERVER_CORE, **environ: str) -> Iterator[Server]:
    """Run a peer's ``script`` with Node.js."""
    port = free_port()
    begin = time.perf_counter()
    env = {"PORT": str(port), "NODE_ENV": "production", **environ}
    with _process(_pinned(core, ["node", str(script)]), env=env) as process:
        yield _ready(process, port, begin)


def free_load_core() -> None:
    """Keep this process and the threads that it starts to the load's core."""
    os.sched_setaffinity(0, {int(LOAD_CORE)})


def _pinned(core: str | None, command: Sequence[str]) -> list[str]:
    if core is None:
        return list(command)
    if not shutil.which("taskset"):
        raise SystemExit("taskset is missing; install it: apt-get install util-linux")
    return ["taskset", "-c", core, *command]


@contextmanager
def _process(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` while the block runs; it and its children then get SIGTERM, and SIGKILL if they stay."""
    environment = {**os.environ, **(env or {})}
    quiet = None if os.environ.get("BENCH_STDERR") else subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=stdout, stderr=quiet, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout:
            process.stdout.close()


def _ready(process: subprocess.Popen[bytes], port: int, begin: float) -> Server:
    """Wait for the first answer, whatever its status."""
    while time.perf_counter() - begin < START_SECONDS:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/live", timeout=START_SECONDS).close()
        except urllib.error.HTTPError as answer:
            answer.close()
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{process.args!r} ended; BENCH_STDERR=1 shows what it said") from None
            time.sleep(0.02)
            continue
        return Server(port=port, pid=process.pid, took=time.perf_counter() - begin)
    raise SystemExit(f"{process.args!r} did not answer within {START_SECONDS:g} s")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in _family(int(child)))]


def _pss(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def _cpu(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
