"""A real server that is made from Pipedrive's specification answers the adapter: ``@stoplight/prism-cli``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.pipedrive import PipedriveAdapter, PipedriveSettings
from middleware.cli.server import free_port
from middleware.crm.context import build_context
from middleware.crm.settings import Secret
from middleware.model.contact import Contact
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from tests.adapters.specification import FOLDER


class PipedriveHere(PipedriveAdapter):
    """The adapter, with Pipedrive at another address."""

    name = "pipedrive-here"
    address = ""

    @property
    def base_url(self) -> str:
        return self.address


@pytest.fixture
def prism(tmp_path: Path) -> Iterator[str]:
    """Return the address of a server that knows version 2 of the API, and refuses what is not specified."""
    program = shutil.which("prism")
    specification = FOLDER / "pipedrive" / "pipedrive-v2.trim.json"
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("prism is missing")
        pytest.skip("prism is not installed: npm install -g @stoplight/prism-cli")
    if not specification.exists():
        pytest.skip("the vendor's specification is not there")
    written = json.loads(specification.read_text(encoding="utf-8"))
    written["paths"] = {f"/api/v2{path}": known for path, known in written["paths"].items()}
    (tmp_path / "pipedrive.json").write_text(json.dumps(written), encoding="utf-8")
    port = free_port()
    command = [program, "mock", "--errors", "--port", str(port), str(tmp_path / "pipedrive.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout
        assert any("is listening" in line for line in server.stdout), "prism did not start"
        yield f"http://127.0.0.1:{port}"
        server.kill()


def test_a_real_server_understands_the_adapter(prism: str) -> None:
    """Search, activities, deals and a task go through a server that refuses whatever is not specified."""
    adapter = PipedriveHere(PipedriveSettings(token=Secret("t0ken"), company="nordlys"))
    adapter.address = prism
    ctx = build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=30)))
    found = list(adapter.find_contacts(parse_number("+46701740605", "SE"), ctx))
    assert [number.number for number in found[0].numbers] == ["+372 555555555"]
    contact = Contact(id="6", display_name=found[0].display_name)
    assert [deal.header for deal in adapter.find_deals(contact, ctx)] == ["Deal Title"]
    assert [task.header for task in adapter.find_tasks(contact, ctx)] == ["Activity Subject"]
    assert next(adapter.iter_contacts(None, ctx)).title == "Manager"
