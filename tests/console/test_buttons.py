"""The buttons that end a connection, read a CRM's contacts and try the alarms."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from middleware.crm.registry import load_adapters
from middleware.parts import build_index_lane
from middleware.tenants import config
from tests.cli.test_index import QUERIES
from tests.conftest import House
from tests.console.conftest import HOME, SignIn, access_of
from tests.oauth.acme import AcmeAdapter, add_customer
from tests.oauth.provider import Provider

ONE, SYSTEM = f"{HOME}/customer/nordlys", f"{HOME}/system"


def actions(house: House) -> list[tuple[str, str | None, str]]:
    return [(entry.action, entry.customer, entry.about) for entry in access_of(house).audit.entries()]


@pytest.fixture
def indexed(console: House) -> House:
    """Return a house whose Swedish customer has an index."""
    file = console.folder / "customers" / "nordlys.toml"
    text = file.read_text(encoding="utf-8")
    text = text.replace('adapter = "sql"\n', 'adapter = "sql"\nindex = true\n').replace("[crm.queries]\n", QUERIES)
    file.write_text(text, encoding="utf-8")
    return console


def test_a_worker_builds_the_index_that_a_button_asks_for(indexed: House, signed_in: SignIn) -> None:
    """Care asks, the answer comes at once, the page follows it, and whoever keeps the indexes reads the contacts."""
    cleo = signed_in("cleo")
    assert "not begun; a worker builds it" in cleo.get(ONE).text
    assert cleo.post(f"{ONE}/index", crm="sql").status_code == 303
    text = cleo.get(ONE).text
    assert "waiting for a worker, 0 read so far" in text
    assert 'hx-trigger="every 3s" hx-select="#index-1"' in text
    assert ("index build requested", "nordlys", "sql") in actions(indexed)
    build_index_lane(indexed.parts).run_once()
    text = cleo.get(ONE).text
    assert "ready, " in text
    assert "every 3s" not in text


def test_an_index_that_is_being_built_is_left_alone(indexed: House, signed_in: SignIn) -> None:
    """While a worker is about it, the button says so."""
    tenant = indexed.parts.tenants.get("nordlys")
    assert tenant
    assert indexed.parts.index.claim(tenant, tenant.sources[0])
    answer = signed_in("cleo").post(f"{ONE}/index", crm="sql")
    assert answer.status_code == 400
    assert "a worker is about its index" in answer.text


@pytest.mark.parametrize("button", ["index", "disconnect"])
def test_buttons_of_a_customer_are_not_everybodys(console: House, signed_in: SignIn, button: str) -> None:
    """A customer's own admin presses none; a CRM that is not there, or has no such thing, has none."""
    assert signed_in("nora").post(f"{ONE}/{button}", crm="sql").status_code == 403
    ada = signed_in()
    assert ada.post(f"{ONE}/{button}", crm="sql").status_code == 404
    assert ada.post(f"{ONE}/{button}", crm="nothing").status_code == 404
    assert ada.post(f"{HOME}/customer/nobody/{button}", crm="sql").status_code == 404
    assert ada.client.post(f"{ONE}/{button}", data={"crm": "sql"}).status_code == 400, "no form of ours"
    assert {action for action, _, _ in actions(console)} == {"signed in"}


def test_a_connection_is_ended(
    console: House, signed_in: SignIn, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button takes the tokens away here, tells the CRM, and is gone afterwards."""
    known = {**load_adapters(), "acme": AcmeAdapter}
    monkeypatch.setattr(config, "load_adapters", lambda: known)
    add_customer(console.folder, provider.url)
    nova, ada = f"{HOME}/customer/nova", signed_in()
    assert "Disconnect acme" not in ada.get(nova).text
    connect(console)
    assert "Disconnect acme" in ada.get(nova).text
    assert ada.post(f"{nova}/disconnect", crm="acme").status_code == 303
    text = ada.get(nova).text
    assert "not connected" in text
    assert "Disconnect acme" not in text
    assert console.parts.connections
    assert console.parts.connections.grant("nova", "acme") is None
    assert provider.revoked
    assert ("connection ended", "nova", "acme") in actions(console)


def connect(house: House) -> None:
    """Authorise the customer as a person in a browser does."""
    connections, tenant = house.parts.connections, house.parts.tenants.get("nova")
    assert connections
    assert tenant
    assert tenant.sources[0].client
    link = connections.begin(tenant.sources[0].client, "http://localhost/callback")
    back = requests.get(link, allow_redirects=False, timeout=20).headers["Location"]
    told = parse_qs(urlsplit(back).query)
    connections.finish(told["state"][0], told["code"][0])


@pytest.mark.parametrize(("status", "words"), [(0, "command: told"), (3, "command: ended with status 3")])
def test_a_test_alarm_is_sent(console: House, signed_in: SignIn, tmp_path: Path, status: int, words: str) -> None:
    """The hoster's own command receives a made-up alarm, and the page says whether that worked."""
    told = tmp_path / "told.json"
    script = f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read()); sys.exit({status})"
    settings = replace(console.parts.settings, alarm_command=f'{sys.executable} -c "{script}"')
    console.app.extensions["m8crm"] = replace(console.parts, settings=settings)
    ada = signed_in()
    assert "Send a test alarm" in ada.get(SYSTEM).text
    answer = ada.post(f"{SYSTEM}/alarm")
    assert f"Test alarm by {words}" in answer.text
    assert json.loads(told.read_text())["alarm"] == "test"
    assert ("alarm tested", None, "") in actions(console)


def test_who_may_not_see_the_system_sends_no_alarm(console: House, signed_in: SignIn) -> None:
    """Only the hoster tries the alarms, and only where somebody would be told."""
    assert signed_in("cleo").post(f"{SYSTEM}/alarm").status_code == 403
    ada = signed_in()
    assert "Send a test alarm" not in ada.get(SYSTEM).text
    assert ada.post(f"{SYSTEM}/alarm").status_code == 400
