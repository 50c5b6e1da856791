"""A real server whose disk takes no more, by the kernel's word, and takes it again."""

from __future__ import annotations

import json
import resource
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

from tests.conftest import call_log
from tests.promises.mortal import deliver, web
from tests.promises.town import SECRET, Town, TownCRM

HEADERS = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}


def ask(port: int, method: str, path: str, **call: object) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, json.dumps(call_log(**call)) if method == "POST" else None, HEADERS)
    status = connection.getresponse().status
    connection.close()
    return status


def test_full_disk_acknowledges_nothing_and_heals(tmp_path: Path) -> None:
    """While nothing can be written senders hear 503 and lookups are answered; with room again all goes on by itself."""
    (tmp_path / "customers").mkdir()
    with TownCRM() as crm:
        Town(tmp_path).settle(crm)
        database_url = f"sqlite:///{tmp_path / 'inbox.db'}"
        with web(tmp_path, database_url) as (process, port):
            assert ask(port, "POST", "/acme/calllog") == 200
            assert process.pid
            limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            for second in range(3):
                assert ask(port, "POST", "/acme/calllog", startTime=1_772_366_400_000 + 60_000 * (second + 1)) == 503
                assert ask(port, "GET", f"/acme/lookup?fromNumber={quote('+46701740605')}") == 200
            assert ask(port, "GET", "/-/ready") == 503
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
            assert ask(port, "POST", "/acme/calllog", startTime=1_772_366_460_000) == 200
            assert ask(port, "GET", "/-/ready") == 200
        assert deliver(tmp_path, database_url) == 0
        assert len(crm.calls) == 2
