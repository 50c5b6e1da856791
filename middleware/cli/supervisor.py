"""Runs the web server, the console and the worker as children of one process."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from struct import Struct

import structlog

from middleware.cli.server import local_url
from middleware.settings import ROOT, Settings

log = structlog.get_logger("m8crm.serve")
STOP_SECONDS = 20.0  # longer than gunicorn's graceful_timeout
CALM_SECONDS = 60.0  # a child that lived longer died of something new
NICE = 10  # of the console: a tenth of the processor while lookups want all of it
SLICE_NS = 100_000  # that the console has the core before a lookup that wakes may take it
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SCHED_ATTR = Struct("=IIQiIQQQ")  # sched_setattr(2): size, policy, flags, nice, priority, runtime, deadline, period
_FIRST_SOCKET = 3  # systemd's sockets follow standard error: sd_listen_fds(3)
_PR_SET_PDEATHSIG = 1  # Linux: the child is told when its parent dies, however it dies


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    name: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    sockets: tuple[int, ...] = ()
    nice: int = 0
    reloads: bool = True  # on SIGHUP


@dataclass(slots=True)
class _Child:
    program: _Program
    process: subprocess.Popen[bytes]
    started_at: float
    deaths: int = 0  # one soon after the other
    start_at: float = 0.0
    waits: bool = False
    is_replaced: bool = False  # we asked it to end


@dataclass(slots=True)
class Supervisor:
    """Keeps its children running until SIGTERM or SIGINT; SIGHUP reloads them without a failed request."""

    settings: Settings
    with_worker: bool = True
    _children: list[_Child] = field(default_factory=list)
    _stopping: bool = False
    _reload: bool = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Start the children, call ``on_ready`` when the server answers, and return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hup)
        for program in self._programs():
            self._children.append(_Child(program, self._spawn(program), time.monotonic()))
        told = False
        while not self._stopping:
            if not told and is_ready(self.settings):
                on_ready()
                told = True
            self._tend()
            time.sleep(0.05 if not told else 0.2)
        self._end()
        return 0

    def _programs(self) -> list[_Program]:
        gunicorn = ("gunicorn", "-c", str(ROOT / "config" / "gunicorn.conf.py"))
        given = given_sockets()
        binds = tuple(argument for one in given for argument in ("-b", f"fd://{one}"))
        environ, beside = {}, []
        if self.settings.console:
            # it is ours, and stays: who asks while the console is started again waits
            with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
                environ["M8CRM_CONSOLE_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
                own = listener.detach()
            arguments = (*gunicorn, "-b", f"fd://{own}", "--workers", "1", "middleware.app:create_console()")
            beside.append(_Program(name="console", arguments=arguments, sockets=(own,), nice=NICE))
        if self.with_worker:
            beside.append(_Program(name="worker", arguments=("middleware.cli", "worker"), reloads=False))
        web = _Program(name="web", arguments=(*gunicorn, *binds, "wsgi:app"), environ=environ, sockets=given)
        return [web, *beside]

    def _spawn(self, program: _Program) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", *program.arguments],
            env={**environment(self.settings), **program.environ},
            preexec_fn=partial(_prepare, program.nice),  # noqa: PLW1509
            cwd=ROOT,
            pass_fds=program.sockets,
        )

    def _tend(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process.poll() is not None and not child.waits:
                self._mourn(child, now)
            if child.waits and now >= child.start_at:
                child.process, child.waits, child.started_at = self._spawn(child.program), False, now
        if self._reload:
            self._reload = False
            for child in self._children:
                if child.program.reloads:
                    child.process.send_signal(signal.SIGHUP)
                else:
                    child.process.terminate()  # gives its leases back; another is started at once
                    child.is_replaced = True

    @staticmethod
    def _mourn(child: _Child, now: float) -> None:
        child.waits = True
        if child.is_replaced:
            child.is_replaced, child.start_at = False, now
            return
        child.deaths = 1 if now - child.started_at > CALM_SECONDS else child.deaths + 1
        child.start_at = now + min(0.5 * 2 ** min(child.deaths, 6), 30.0)
        log.error("child_died", program=child.program.name, status=child.process.returncode)

    def _end(self) -> None:
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _hup(self, _number: int, _frame: object) -> None:
        self._reload = True


def given_sockets() -> tuple[int, ...]:
    """Return the descriptors of the sockets that systemd listens on for this process: they outlive the server."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    return tuple(range(_FIRST_SOCKET, _FIRST_SOCKET + int(os.environ.get("LISTEN_FDS", "0"))))


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment that makes a child read the same settings."""
    return {
        **os.environ,
        "M8CRM_DATA": str(settings.data),
        "M8CRM_CUSTOMERS": str(settings.customers),
        "M8CRM_DATABASE_URL": settings.database_url,
        "M8CRM_PUBLIC_URL": settings.public_url,
        "M8CRM_HOST": settings.host,
        "M8CRM_PORT": str(settings.port),
        "M8CRM_DELIVERY": "false",
        "M8CRM_CONSOLE": str(settings.console).lower(),
        "M8CRM_CONSOLE_URL": "",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }


def is_ready(settings: Settings) -> bool:
    """Whether the server on this machine answers that it is ready."""
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{local_url(settings)}/-/ready", timeout=2).ok
    except requests.RequestException:
        return False


def _prepare(nice: int) -> None:
    """Give the child its place beside the others, and have it end with its parent."""
    libc = ctypes.CDLL(None)
    if nice:
        os.nice(nice)
        # Linux 6.12 and later give it the core for this long; by default a lookup that wakes waits for 3 ms.  Others,
        # and those that refuse, leave it as it is.  Neither Python nor Debian's C library has a name for the call
        if number := _SCHED_SETATTR.get(platform.machine()):
            libc.syscall(number, 0, _SCHED_ATTR.pack(_SCHED_ATTR.size, 0, 0, os.nice(0), 0, SLICE_NS, 0, 0), 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
