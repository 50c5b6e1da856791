"""``m8crm adapter try`` and ``check --customer``: a mapping is tried without pytest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.testing.faults import FaultServer
from tests.cli.conftest import Run

CUSTOMER = """\
name = "Acme"
region = "SE"
secrets.insights = ["sha256:{digest}"]
[[crm]]
adapter = "rest"
url = "{url}/api"
auth = "query"
auth_name = "key"
token = "t0ken-of-acme"
[crm.requests.find_contacts]
path = "people"
query.phone = "{{suffix}}"
records = "data"
fields = {{ id = "id", display_name = "name", number = "phones[].no" }}
[crm.requests.find_notes]
path = "people/{{contact_id}}/notes"
fields = {{ timestamp = "at", body = "text", header = "tittle" }}
"""
ANSWERS = {
    "/api/people": {"data": [{"id": 7, "name": "Ada Webb", "phones": [{"no": "070-174 06 05"}]}]},
    "/api/people/7/notes": [{"at": "2026-01-14T08:00:00Z", "text": "Wants an offer", "title": "Offer"}],
}


@pytest.fixture
def crm(demo_folder: Path) -> Iterator[FaultServer]:
    with FaultServer(ANSWERS) as server:
        path = demo_folder / "customers" / "acme.toml"
        path.write_text(CUSTOMER.format(digest="0" * 64, url=server.url), encoding="utf-8")
        yield server


def test_a_mapping_is_shown_step_by_step(run: Run, crm: FaultServer) -> None:
    """Whoever writes a mapping sees each request, the raw answer, what each expression found, and no secret."""
    result = run("adapter", "try", "acme", "070-174 06 05")
    assert result.exit_code == 0, result.stderr
    for words in (
        "find_contacts: GET /api/people?phone=01740605&key=***",
        '"no": "070-174 06 05"',
        'records = "1 found"',
        '1. number = ["070-174 06 05"]',
        "find_notes: GET /api/people/7/notes?key=***",
        "1. header = null",
        '1. body = "Wants an offer"',
        "find_notes: 1 found",
    ):
        assert words in result.stdout
    assert "t0ken" not in result.stdout


def test_what_failed_is_told(run: Run, crm: FaultServer) -> None:
    """A CRM that refuses, and an answer of another shape, end the trial with the reason and what was answered."""
    crm.answers["/api/people/7/notes"] = {"notes": []}
    result = run("adapter", "try", "acme", "+46701740605", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["failed"].keys() == {"find_notes"}
    assert "requests.find_notes" in told["failed"]["find_notes"]
    assert [step["answer"] for step in told["steps"]][1] == {"notes": []}


def test_a_customer_s_mapping_is_checked_with_its_exchanges(run: Run, crm: FaultServer, tmp_path: Path) -> None:
    """What was recorded of a mapping is enough for the kit; a mapping that misreads it fails."""
    file = tmp_path / "exchanges.json"
    recorded = run("adapter", "record", "acme", "+46701740605", "--into", str(file))
    assert recorded.exit_code == 0, recorded.stderr
    asked = ("adapter", "check", "rest", "--customer", "acme", "--exchanges", str(file), "--json")
    checks = {each["check"]: each for each in json.loads(run(*asked).stdout)["checks"]}
    assert checks["the_recorded_contact_is_found"]["verdict"] == "passed"
    assert checks["no_secret_is_in_an_address"]["verdict"] == "failed"
    assert checks["the_log_has_the_key"]["verdict"] == "skipped"


def test_exchanges_need_their_customer(run: Run, tmp_path: Path) -> None:
    """One without the other is no question."""
    assert run("adapter", "check", "rest", "--customer", "acme").exit_code == 2
