"""A whole installation in processes of its own, to be killed and started again as systemd would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic, sleep
from types import TracebackType

from benchmarks.adapter import ENTRY_POINTS
from middleware.cli.server import free_port
from middleware.settings import ROOT

# the script, as docs/operations.rst has it: SIGUSR2 starts `-m gunicorn` with gunicorn's own "http" for Python's
WEB = (str(Path(sys.executable).with_name("gunicorn")), "-c", str(ROOT / "config" / "gunicorn.conf.py"), "wsgi:app")
WORKER = (sys.executable, "-m", "middleware.cli", "worker")
PATIENCE = 60.0  # seconds for a start


class Adopted:
    """A process that a child of ours has started, and that has outlived it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def terminate(self) -> None:
        """Ask it to end."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout: float) -> None:
        """Wait until it has ended."""
        until = monotonic() + timeout
        while Path(f"/proc/{self.pid}/stat").exists() and b") Z " not in Path(f"/proc/{self.pid}/stat").read_bytes():
            if monotonic() > until:
                raise subprocess.TimeoutExpired("gunicorn", timeout)
            sleep(0.02)


@dataclass
class Installation:
    """One machine: a web server, and ``workers`` processes that deliver; all data is in ``folder``.

    ``database`` is the inbox's URL, else SQLite in the folder.  Several installations with one database are several
    machines.
    """

    folder: Path
    database: str = ""
    workers: int = 1
    web_workers: int = 2
    environ: Mapping[str, str] = field(default_factory=dict)
    web: tuple[str, ...] = WEB
    port: int = field(default_factory=free_port)
    descriptors: tuple[int, ...] = ()  # that the web server inherits
    processes: dict[str, subprocess.Popen[bytes] | Adopted] = field(default_factory=dict)

    def __enter__(self) -> Installation:
        if not self.processes:
            self.begin()
        self.wait_until_it_answers()
        return self

    def begin(self) -> None:
        """Start it without waiting for it."""
        plugin = self.folder / "plugin" / "benchmarks-1.dist-info"
        plugin.mkdir(parents=True, exist_ok=True)
        (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmarks\nVersion: 1\n")
        (plugin / "entry_points.txt").write_text(ENTRY_POINTS)
        self.start("web", *(f"worker{i}" for i in range(self.workers)))

    def __exit__(self, _kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        for process in self.processes.values():
            process.terminate()
        for name in list(self.processes):
            try:
                self.processes[name].wait(30)
            except subprocess.TimeoutExpired:
                self.kill(name)

    @property
    def url(self) -> str:
        """Where the web server answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *names: str) -> None:
        """Start processes: ``web``, or ``worker0`` and so on."""
        for name in names:
            with (self.folder / f"{name}.log").open("ab") as told:
                self.processes[name] = subprocess.Popen(
                    [part.format(port=self.port) for part in self.web] if name == "web" else WORKER,
                    env={**os.environ, **self._environ()},
                    cwd=ROOT,
                    stdout=told,
                    stderr=told,
                    start_new_session=True,
                    pass_fds=self.descriptors if name == "web" else (),
                )

    def kill(self, *names: str) -> None:
        """Kill processes and their children, as the kernel does when it has no memory left."""
        for name in names:
            process = self.processes.pop(name)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def kill_any(self, random: Random) -> str:
        """Kill a process, a server with all of its own, or everything; start again what nobody else does."""
        web_workers = children(self.processes["web"].pid)
        kinds = ["everything", *self.processes, *(["one web worker"] if web_workers else [])]
        kind = random.choice(kinds)
        if kind == "one web worker":  # its master starts another
            with suppress(ProcessLookupError):
                os.kill(random.choice(web_workers), signal.SIGKILL)
            return kind
        names = list(self.processes) if kind == "everything" else [kind]
        self.kill(*names)
        self.start(*names)
        return kind

    def signal(self, number: int) -> None:
        """Send a signal to every process of the machine."""
        for process in self.processes.values():
            os.killpg(process.pid, number)

    def run(self, *arguments: str) -> None:
        """Run ``m8crm`` with the installation's settings."""
        command = [sys.executable, "-m", "middleware.cli", *arguments]
        subprocess.run(command, env={**os.environ, **self._environ()}, cwd=ROOT, check=True, capture_output=True)

    def ask(self, *arguments: str) -> str:
        """Return what ``m8crm`` prints with the installation's settings, whatever its status."""
        command = [sys.executable, "-m", "middleware.cli", *arguments]
        environ = {**os.environ, **self._environ()}
        return subprocess.run(command, env=environ, cwd=ROOT, check=False, capture_output=True, text=True).stdout

    def adopt(self, name: str, pid: int) -> None:
        """Take a process for one that was started here."""
        self.processes[name] = Adopted(pid)

    def answers(self) -> bool:
        """Whether the web server does."""
        try:
            urllib.request.urlopen(f"{self.url}/-/live", timeout=PATIENCE).close()
        except urllib.error.HTTPError as answer:
            answer.close()
        except OSError:
            return False
        return True

    def wait_until_it_answers(self) -> None:
        """Wait for the web server."""
        until = monotonic() + PATIENCE
        while monotonic() < until:
            if self.answers():
                return
            sleep(0.02)
        raise AssertionError(f"no answer: {(self.folder / 'web.log').read_text()[-2000:]}")

    def _environ(self) -> dict[str, str]:
        database = {"M8CRM_DATABASE_URL": self.database} if self.database else {}
        return {
            "M8CRM_PORT": str(self.port),
            "M8CRM_WEB_WORKERS": str(self.web_workers),
            "M8CRM_DATA": str(self.folder),
            "M8CRM_CUSTOMERS": str(self.folder / "customers"),
            "M8CRM_DELIVERY": "false",
            "M8CRM_LOG_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join([str(self.folder / "plugin"), str(ROOT)]),
            **database,
            **self.environ,
        }


def children(pid: int) -> list[int]:
    """Return the processes that it has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
