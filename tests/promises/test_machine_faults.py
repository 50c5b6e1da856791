"""A real server on a machine that is short of something, or about to lose its power."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from benchmarks.customers import SECRET, add_customer
from benchmarks.servers import run_stub
from tests.conftest import call_log
from tests.promises.installation import WEB, Installation
from tests.promises.mortal import web
from tests.promises.senders import Senders
from tests.promises.test_full_disk import HEADERS, ask
from tests.promises.town import Town, TownCRM

TRACED = ("strace", "-D", "-f", "-s", "40", "-e", "trace=recvfrom,sendto,fdatasync", "-o")
AUTHORIZED = {"Authorization": f"Bearer {SECRET}"}
NAIVE = """
import sqlite3, socket, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = OFF")
database.execute("CREATE TABLE event (raw)")
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
while True:
    wire, _ = server.accept()
    if raw := wire.recv(65536):
        if raw.startswith(b"POST"):
            database.execute("INSERT INTO event VALUES (?)", [raw])
            database.commit()
        wire.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    wire.close()
"""


@pytest.mark.parametrize("is_ours", [pytest.param(True, id="m8crm"), pytest.param(False, id="control")])
def test_event_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path, is_ours: bool) -> None:
    """Between a call's request and its 200 the kernel has been told to write, and has; else a power cut loses it."""
    assert shutil.which("strace") or os.environ.get("CI") != "true", "strace is missing: apt-get install strace"
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    naive = (sys.executable, "-c", NAIVE.replace("{", "{{").replace("}", "}}"), str(tmp_path / "naive.db"), "{port}")
    add_customer(tmp_path, "acme", "http://127.0.0.1:9")  # nobody delivers: no CRM is asked
    server = (*TRACED, str(trace), *(WEB if is_ours else naive))
    with Installation(tmp_path, workers=0, web_workers=1, web=server) as machine:
        post = Request(f"{machine.url}/acme/calllog", json.dumps(call_log()).encode(), {**HEADERS, **AUTHORIZED})
        urlopen(post, timeout=30).close()
    assert is_synced(trace.read_text()) == is_ours


def is_synced(trace: str) -> bool:
    """Whether a sync has ended between the request for a call log and the answer to it."""
    lines = trace.splitlines()
    begin = next(i for i, line in enumerate(lines) if "POST /acme/calllog" in line)
    end = next(i for i, line in enumerate(lines) if i > begin and "HTTP/1.1 200" in line)
    return any(re.search(r"fdatasync(\(\d+\)| resumed>\)) += 0", line) for line in lines[begin:end])


def test_server_without_descriptors_goes_on(tmp_path: Path) -> None:
    """When idle connections have taken every descriptor calls are still acknowledged; when they end, all is well."""
    (tmp_path / "customers").mkdir()
    with TownCRM() as crm, ExitStack() as idle:
        Town(tmp_path).settle(crm)
        with web(tmp_path, f"sqlite:///{tmp_path / 'inbox.db'}") as (process, port):
            assert process.pid
            assert ask(port, "GET", f"/acme/lookup?fromNumber={quote('+46701740605')}") == 200
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, 256))
            for _ in range(300):
                idle.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            assert ask(port, "POST", "/acme/calllog") == 200
            assert ask(port, "GET", f"/acme/lookup?fromNumber={quote('+46701740606')}") in (200, 503)
            idle.close()
            assert ask(port, "GET", f"/acme/lookup?fromNumber={quote('+46701740607')}") == 200
            assert ask(port, "GET", "/-/ready") == 200


DYING = """
from middleware.delivery.worker import Worker
import pathlib, sys
flag, plan = pathlib.Path(sys.argv.pop(1)), Worker._plan
def dying(self):
    if flag.exists():
        return plan(self)
    flag.touch()
    sys.exit("+46701740605")
Worker._plan = dying
"""


def test_worker_without_its_planner_ends(tmp_path: Path) -> None:
    """A worker one of whose threads has died ends, as what has failed, so that whoever supervises it starts another."""
    program = DYING + "from middleware.cli import main; main()"
    command = [sys.executable, "-c", program, str(tmp_path / "flag"), "--data", str(tmp_path), "worker"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "thread_died" in ended.stdout + ended.stderr
    assert "planner" in ended.stdout + ended.stderr
    assert "701740605" not in ended.stdout + ended.stderr


def test_web_worker_without_its_planner_is_replaced(tmp_path: Path) -> None:
    """Where gunicorn delivers alone, a web worker whose planner has died makes room for one that delivers."""
    program = DYING.replace("{", "{{").replace("}", "}}") + "from gunicorn.app.wsgiapp import run; run()"
    server = (sys.executable, "-c", program, str(tmp_path / "flag"), *WEB[1:])
    with run_stub(core=None) as stub:
        add_customer(tmp_path, "acme", stub.url("acme"), adapter="busy-stub")
        environ = {"M8CRM_DELIVERY": "true"}
        with Installation(tmp_path, workers=0, web_workers=1, web=server, environ=environ) as machine:
            with Senders(lambda: machine.port, most=1) as senders:
                senders.wait_for(1)
            while not stub.seen("acme")["writes"]:
                assert machine.answers()
    assert "thread_died" in (tmp_path / "web.log").read_text()
