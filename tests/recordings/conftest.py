"""A file server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from moto.server import ThreadedMotoServer

from tests.conftest import House
from tests.recordings.outside import FileServer, file_server
from tests.recordings.town import CONTACTS, Town


@pytest.fixture
def served(tmp_path: Path) -> Iterator[FileServer]:
    """Return a running file server."""
    with file_server(tmp_path) as server:
        yield server


@pytest.fixture
def town(house: House, served: FileServer) -> Town:
    """Return a house that fetches from the file server."""
    town = Town(house, served)
    for customer in CONTACTS:
        town.configure(customer)
    return town


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start an S3-compatible server with an empty bucket; return its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }.items():
        monkeypatch.setenv(name, value)
    with requests.Session() as session:
        session.trust_env = False
        session.post(f"{url}/moto-api/reset", timeout=10).raise_for_status()  # a process has one memory for all servers
        session.put(f"{url}/kept", timeout=10).raise_for_status()
    yield url
    server.stop()
