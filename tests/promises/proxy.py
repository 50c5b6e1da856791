"""The real proxy of ``deploy/haproxy``, before machines on ports of this one."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import sleep
from typing import Any

import pytest

from middleware.cli.server import free_port
from middleware.settings import ROOT

EXAMPLE = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
USER = "nobody"


def haproxy() -> str:
    """Return the program."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("haproxy is missing: apt-get install haproxy")
    if program is None:
        pytest.skip("haproxy is not installed")
    return program


def configuration(port: int, machines: Sequence[int]) -> str:
    """Return the example with our port and those of the machines in place of its addresses and TLS."""
    text = re.sub(r"bind :443 .*", f"bind 127.0.0.1:{port}", EXAMPLE.read_text(encoding="utf-8"))
    for place, machine in enumerate(machines, 1):
        text = text.replace(f"10.0.0.1{place}:8080", f"127.0.0.1:{machine}")
    assert "10.0.0." not in text, "the example has as many machines as there are"
    return text


@contextmanager
def run_haproxy(machines: Sequence[int]) -> Iterator[int]:
    """Run the proxy as an unprivileged user; yield its port."""
    port = free_port()
    user: dict[str, Any] = {"user": USER} if os.geteuid() == 0 else {}
    with NamedTemporaryFile("w", prefix="m8crm-haproxy-", suffix=".cfg") as file:
        file.write(configuration(port, machines))
        file.flush()
        Path(file.name).chmod(0o644)  # whose folder is open to that user
        process = subprocess.Popen([haproxy(), "-q", "-f", file.name], stdout=subprocess.DEVNULL, cwd="/", **user)
        try:
            while not _listens(port):
                assert process.poll() is None, "haproxy did not start"
                sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
