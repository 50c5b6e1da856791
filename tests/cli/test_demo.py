"""``m8crm demo`` and ``m8crm serve`` as real processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from middleware.cli.supervisor import NICE, Supervisor
from middleware.settings import ROOT
from tests.cli.conftest import Run

Start = Callable[..., "subprocess.Popen[str]"]
PATIENCE = 40  # seconds; a busy machine starts four processes slowly
M8CRM = [sys.executable, "-m", "middleware.cli"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``m8crm …`` in a session of its own; end what is left of it."""
    started: list[subprocess.Popen[str]] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("M8CRM_")}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "M8CRM_WEB_WORKERS": "1"}

    def popen(*arguments: str) -> subprocess.Popen[str]:
        log = (tmp_path / f"log-{len(started)}").open("w")
        pipe = subprocess.PIPE
        with log:
            process = subprocess.Popen(
                [*M8CRM, *arguments], stdout=pipe, stderr=log, text=True, env=environment, start_new_session=True
            )
        started.append(process)
        return process

    yield popen
    for process in started:
        for pid in _session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def _session(leader: int) -> list[int]:
    """Return the processes that belong to the session of ``leader`` and are no zombies."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(session) == leader and state != "Z":
            found.append(int(place.name))
    return found


def _line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout
    return json.loads(process.stdout.readline())


def _ask(endpoint: dict[str, Any], query: str = "", body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {**endpoint["headers"], "Content-Type": "application/json"}
    try:
        with urlopen(Request(endpoint["url"] + query, data, headers), timeout=5) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*M8CRM, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def _until_delivered(data: Path, event_id: str) -> Any:
    for _ in range(40):  # each look is a process: that takes its time
        shown = json.loads(_run("--data", str(data), "events", "show", event_id, "--json").stdout)
        if shown["state"] == "delivered":
            break
    return shown


def test_a_call_goes_all_the_way(start: Start, tmp_path: Path) -> None:
    """The demo answers lookups of both customers, delivers a triggered call once, shows it, and stops cleanly.

    Started again in the same folder it has the same secrets and the call.
    """
    data = tmp_path / "kept"
    demo = start("demo", "--port", "0", "--json", "--data", str(data))
    told = _line(demo)
    assert [customer["id"] for customer in told["customers"]] == ["nordlys", "harbour"]
    for customer in told["customers"]:
        lookup = customer["endpoints"]["lookup"]
        for number in customer["known_numbers"]:
            status, card = _ask(lookup, f"?fromNumber={quote(number)}")
            assert (status, bool(card.get("displayName"))) == (200, True)
        assert _ask(lookup, f"?fromNumber={quote(customer['unknown_number'])}")[0] == 404
        assert _ask({**lookup, "headers": {"Authorization": "Bearer no"}}, "?fromNumber=1")[0] == 403

    triggered = _run("--data", str(data), "trigger", "nordlys", "calllog", "--summary", "Wants blue", "--json")
    event_id = json.loads(triggered.stdout)["answer"]["id"]
    assert _until_delivered(data, event_id)["state"] == "delivered"
    lookup = told["customers"][0]["endpoints"]["lookup"]
    query = f"?fromNumber={quote(told['customers'][0]['known_numbers'][0])}"
    card = _ask(lookup, query)[1]
    assert sum("Wants blue" in activity["body"] for activity in card["activities"]) == 1

    children = _session(demo.pid)
    assert len(children) >= 4  # the demo, gunicorn, its worker, the delivery
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(PATIENCE) == 0
    assert _session(demo.pid) == []
    assert demo.stdout
    assert demo.stdout.read() == ""  # one line and nothing else

    again = start("demo", "--port", told["base_url"].rpartition(":")[2], "--json", "--data", str(data))
    assert _line(again) == told
    assert _ask(lookup, query)[1] == card
    again.send_signal(signal.SIGINT)
    assert again.wait(PATIENCE) == 0


def test_the_console_opens_with_what_the_demo_tells(start: Start, tmp_path: Path) -> None:
    """Name and password sign in, and the pages show lookups, calls, and one that was not understood."""
    import requests

    demo = start("demo", "--port", "0", "--json", "--data", str(tmp_path / "kept"))
    told = _line(demo)["console"]
    with requests.Session() as session:
        session.trust_env = False
        page = session.get(told["url"], timeout=PATIENCE).text
        token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        assert token
        form = {"csrf": token[1], "name": told["name"], "password": told["password"]}
        assert "Overview" in session.post(f"{told['url']}/sign-in", form, timeout=PATIENCE).text
        calls = session.get(f"{told['url']}/calls", timeout=PATIENCE).text
        assert calls.count("/-/console/events/") == 12
        assert "startTime" in calls, "of the one that was not understood"
        for _ in range(100):  # another process writes them, once a second
            traces = session.get(f"{told['url']}/traces", timeout=PATIENCE).text
            if traces.count("/-/console/traces/") >= 14:
                break
        assert traces.count("/-/console/traces/") >= 14
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(PATIENCE) == 0
    password = tmp_path / "kept" / "secrets" / "console"
    assert password.read_text() == told["password"]
    assert password.stat().st_mode & 0o077 == 0


def test_the_console_has_a_process_of_its_own(start: Start, tmp_path: Path) -> None:
    """Lookups are answered while it hangs; when it is killed another one is started, and a page waits for that."""
    demo = start("demo", "--port", "0", "--json", "--data", str(tmp_path / "kept"))
    told = _line(demo)
    before = _family_of_the_console(demo.pid)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in before} == {os.nice(0) + NICE}
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    customer = told["customers"][0]
    for number in customer["known_numbers"]:
        assert _ask(customer["endpoints"]["lookup"], f"?fromNumber={quote(number)}")[0] == 200
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    with urlopen(f"{told['console']['url']}/sign-in", timeout=PATIENCE) as page:
        assert page.status == 200
    after = _family_of_the_console(demo.pid)
    assert after
    assert not after & before
    demo.send_signal(signal.SIGHUP)  # one is there at any time
    with urlopen(f"{told['console']['url']}/sign-in", timeout=PATIENCE) as page:
        assert page.status == 200


def _family_of_the_console(demo: int) -> set[int]:
    return {pid for pid in _session(demo) if b"create_console" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def test_a_taken_port_is_told(start: Start) -> None:
    """A port that is in use is a sentence on standard error, at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command, host in ((("demo",), "127.0.0.1"), (("serve",), "127.0.0.1"), (("serve", "--host", "::"), "[::]")):
            result = _run(*command, "--port", port)
            assert result.returncode == 1
            assert f"{host}:{port}" in result.stderr
            assert "--port" in result.stderr
            assert "Traceback" not in result.stderr


@pytest.mark.parametrize("port", ["0", "8099"])
@pytest.mark.parametrize(("host", "shown"), [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]")])
def test_an_address_that_is_not_here_is_told(run: Run, host: str, shown: str, port: str) -> None:
    """What to change is the address then, whatever the port (RFC 5737 and RFC 3849: documentation has them)."""
    result = run("serve", "--host", host, "--port", port)
    assert result.exit_code == 1
    assert f"{shown}:{port}" in result.stderr
    assert "Choose another --host." in result.stderr


def _wait_for_end(pidfd: int) -> None:
    import select

    with os.fdopen(pidfd):
        assert select.select([pidfd], [], [], PATIENCE)[0]


def test_the_demo_outlives_its_children_and_they_not_it(start: Start, tmp_path: Path) -> None:
    """Server and delivery that are killed come back; when the demo itself is killed, they end by themselves."""
    demo = start("demo", "--port", "0", "--json", "--data", str(tmp_path / "kept"))
    told = _line(demo)
    before = set(_session(demo.pid))
    masters = {pid for pid in before if _parent(pid) == demo.pid}
    ended = [os.pidfd_open(pid) for pid in before - {demo.pid}]
    for pid in masters:
        os.kill(pid, signal.SIGKILL)
    for child in ended:
        _wait_for_end(child)
    assert _comes_back(told)
    children = [os.pidfd_open(pid) for pid in _session(demo.pid) if pid != demo.pid]
    demo.kill()
    for child in children:
        _wait_for_end(child)
    assert _session(demo.pid) == []


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _comes_back(told: dict[str, Any]) -> bool:
    import requests
    from urllib3.util import Retry

    session = requests.Session()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=Retry(total=8, backoff_factor=0.2)))
    with session:
        return session.get(f"{told['base_url']}/-/ready", timeout=5).ok


def test_what_to_try_next_can_be_copied(start: Start, tmp_path: Path) -> None:
    """The demo's hints are whole commands: a shell in another folder runs them as they stand.

    Without --data nothing is left when the demo has stopped.
    """
    demo = start("demo", "--port", "0")
    assert demo.stdout
    lines = list(iter(demo.stdout.readline, "Stop with Ctrl-C.\n"))
    begin = lines.index("Try next, in another terminal:\n")
    assert any(re.fullmatch(r"Console: http://127\.0\.0\.1:\d+/-/console\n", line) for line in lines)
    hints = [line.strip() for line in lines[begin + 1 :] if line.strip()]
    assert len(hints) == 3
    assert "--explain" in hints[1]
    for route in ("lookup", "calllog", "recording", "pbx", "cdr?token=", "postcall?token="):
        assert sum(f"/nordlys/{route}" in line for line in lines[:begin]) == 1, route
    assert [shlex.split(hint)[0].rpartition("/")[2] for hint in hints] == ["curl", "m8crm", "m8crm"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    for hint in hints[1:]:
        done = subprocess.run(
            hint, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (hint, done.stderr)
    assert "nordlys" in done.stdout
    assert list(tmp_path.glob("m8crm-demo-*"))
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(PATIENCE) == 0
    assert not list(tmp_path.glob("m8crm-demo-*"))


def _has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
def test_serve_answers_for_the_customers_of_a_folder(start: Start, tmp_path: Path, host: str) -> None:
    """`m8crm serve` runs on a folder of real customers; SIGHUP replaces what works there, and it still answers."""
    data = tmp_path / "real"
    added = _run("--data", str(data), "tenant", "add", "acme", "--name", "A", "--region", "SE", "--json")
    served = start("--data", str(data), "serve", "--host", host, "--port", "0", "--json")
    told = _line(served)
    endpoint: dict[str, Any] = {"url": f"{told['base_url']}/acme/lookup", "headers": {}}
    endpoint["headers"] = {"Authorization": f"Bearer {json.loads(added.stdout)['secret']}"}
    assert _ask(endpoint, "?fromNumber=%2B46701740605")[0] == 404
    if host == "[::]" and _has_ipv6():
        by_ipv6 = {**endpoint, "url": endpoint["url"].replace("127.0.0.1", "[::1]")}
        assert _ask(by_ipv6, "?fromNumber=%2B46701740605")[0] == 404
    masters = [pid for pid in _session(served.pid) if _parent(pid) == served.pid]
    workers = [os.pidfd_open(pid) for pid in _session(served.pid) if _parent(pid) in masters]
    served.send_signal(signal.SIGHUP)
    for worker in workers:
        _wait_for_end(worker)
    assert _ask(endpoint, "?fromNumber=%2B46701740605")[0] == 404
    served.send_signal(signal.SIGTERM)
    assert served.wait(PATIENCE) == 0
    assert _session(served.pid) == []


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Supervisor]:
    """Collect what would have been run."""
    begun: list[Supervisor] = []

    def run(supervisor: Supervisor, **_: object) -> int:
        begun.append(supervisor)
        return 0

    monkeypatch.setattr(Supervisor, "run", run)
    return begun


def test_the_web_alone_has_no_delivery(run: Run, begun: list[Supervisor]) -> None:
    """`m8crm serve --web` starts no worker; without it there is one."""
    for options in (["--web"], []):
        assert run("serve", "--port", "0", *options).exit_code == 0
    assert [supervisor.with_worker for supervisor in begun] == [False, True]


def test_a_public_url_stays(run: Run, monkeypatch: pytest.MonkeyPatch, begun: list[Supervisor]) -> None:
    """The address that M8Com reaches stays as it is configured, whatever port the server listens on."""
    monkeypatch.setenv("M8CRM_PUBLIC_URL", "https://m8.example")
    run("serve", "--port", "0")
    assert begun[0].settings.public_url == "https://m8.example"


def test_the_demo_is_here(run: Run, monkeypatch: pytest.MonkeyPatch, begun: list[Supervisor]) -> None:
    """The demo's URLs are this machine's, whatever is configured for the real server."""
    monkeypatch.setenv("M8CRM_PUBLIC_URL", "https://m8.example")
    monkeypatch.setenv("M8CRM_HOST", "0.0.0.0")
    run("demo", "--port", "0")
    assert begun[0].settings.public_url == f"http://127.0.0.1:{begun[0].settings.port}"
