"""The customers' pages: who sees what, and what the forms do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from middleware.console.pages import customers
from middleware.tenants import registry
from middleware.tenants.config import read_tenant
from middleware.tenants.names import Names
from middleware.tenants.secrets import digest
from tests.conftest import House, call_log
from tests.console.conftest import HOME, Person, SignIn, access_of

LIST, ONE = f"{HOME}/customers", f"{HOME}/customer/nordlys"
NEW = {"id": "acme", "name": "Acme <AB>", "region": "se", "timezone": "Europe/Stockholm"}


def _secret_of(text: str) -> str:
    found = re.search(r"Secret +([\w-]{43})", text)
    assert found, text
    return found[1]


def _listed(text: str) -> set[str]:
    return set(re.findall(r'/customer/([a-z0-9]+)"', text))


def test_each_role_sees_its_customers(console: House, signed_in: SignIn) -> None:
    """Staff see all customers, a customer's own admin sees himself, and nobody else's page."""
    assert {"nordlys", "harbour"} <= _listed(signed_in("cleo").get(LIST).text)
    nora = signed_in("nora")
    assert _listed(nora.get(LIST).text) == {"nordlys"}
    assert nora.get(ONE).status_code == 200
    assert nora.get(f"{HOME}/customer/harbour").status_code == 404
    assert nora.get(f"{HOME}/customer/nobody").status_code == 404


def test_a_list_reads_no_more_files_than_it_shows(
    console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a thousand customers a page of the list reads its own, and the next page has others."""
    for i in range(1000):
        text = '[secrets]\ninsights = ["sha256:' + "0" * 64 + '"]\n'
        (console.folder / "customers" / f"z{i:04}.toml").write_text(f'name = "Number {i}"\nregion = "SE"\n{text}')
    read: list[Path] = []

    def reading(path: Path, *more: Any, **options: Any) -> Any:
        read.append(path)
        return read_tenant(path, *more, **options)

    monkeypatch.setattr("middleware.tenants.registry.read_tenant", reading)
    ada = signed_in()
    first, second = ada.get(LIST).text, ada.get(f"{LIST}?page=2").text
    assert len(read) <= 2 * customers.PAGE
    assert not _listed(first) & _listed(second)
    assert "page=3" in second
    assert _listed(ada.get(f"{LIST}?q=z077").text) == {f"z{i:04}" for i in range(770, 780)}


def test_a_customer_is_found_by_his_name(console: House, signed_in: SignIn) -> None:
    """Names are read aside: once they are, a part of one finds its customer."""
    names = console.app.extensions["m8crm.console.names"] = Names(console.folder / "customers")
    names.read()
    name = console.customers["nordlys"].name
    text = signed_in("cleo").get(LIST, query_string={"q": name[2:8].upper()}).text
    assert _listed(text) == {"nordlys"}
    assert "still being read" not in text


def test_a_broken_file_is_told_and_the_last_good_one_serves(
    console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list and the customer's page say what is wrong with his file, and what is in force."""
    console.lookup()
    (console.folder / "customers" / "nordlys.toml").write_text("region = 7")
    monkeypatch.setattr(registry, "LOOK_EVERY", 0.0)
    ada = signed_in()
    assert "the configuration is not valid" in ada.get(LIST).text
    text = ada.get(ONE).text
    assert "region: Not a valid string." in text
    assert "The last good version stays in force" in text


def test_a_page_shows_what_was_looked_up_and_sent(console: House, signed_in: SignIn) -> None:
    """After a lookup and an event the customer's page has both, and the share of hits."""
    console.lookup()
    console.lookup("+46701740699")
    console.post(call_log(fromNumber="+46701740605"))
    text = signed_in("cleo").get(ONE).text
    assert "<dt>Lookups, 24 h</dt><dd>2</dd>" in text
    assert "<dt>Hits, 24 h</dt><dd>50 %</dd>" in text
    assert re.search(r"<dt>Last lookup \(UTC\)</dt><dd><time", text)
    assert re.search(r"<dt>Last event \(UTC\)</dt><dd><time", text)
    assert "http://127.0.0.1:8080/nordlys/lookup" in text


def test_a_new_customer_is_shown_his_secret_once(console: House, signed_in: SignIn) -> None:
    """What the form shows opens the lookup at once; no other page has it, and only its digest is kept."""
    cleo = signed_in("cleo")
    answer = cleo.post(f"{LIST}/add", **NEW)
    assert answer.status_code == 200, answer.text
    assert "http://127.0.0.1:8080/acme/lookup" in answer.text
    secret = _secret_of(answer.text)
    asked = console.client.get("/acme/lookup?fromNumber=%2B46701740605", headers={"Authorization": f"Bearer {secret}"})
    assert asked.status_code == 404, "a miss: no CRM is connected"
    assert secret not in (console.folder / "customers" / "acme.toml").read_text()
    text = cleo.get(f"{HOME}/customer/acme").text
    assert secret not in text
    assert "Acme &lt;AB&gt;" in text
    assert access_of(console).audit.entries("acme")[0].action == "customer added"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "nordlys"}, "exists already"),
        ({"id": "../evil"}, "is no customer id"),
        ({"id": "Acme"}, "is no customer id"),
        ({"region": "XX"}, "region: Write a country"),
        ({"timezone": "Mars"}, "timezone: is unknown"),
        ({"name": ""}, "name: "),
    ],
)
def test_a_customer_that_cannot_be_leaves_nothing_behind(
    console: House, signed_in: SignIn, change: dict[str, str], words: str
) -> None:
    """The form says what is wrong and keeps what was typed; no file is written or changed."""
    folder = console.folder / "customers"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    answer = signed_in().post(f"{LIST}/add", **{**NEW, **change})
    assert answer.status_code == 400
    assert words in answer.text
    assert 'value="Europe/Stockholm"' in answer.text or change.get("timezone")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_secret_is_rotated_by_form(console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new secret works beside the old one, until one is revoked; what names none is refused."""
    monkeypatch.setattr(registry, "LOOK_EVERY", 0.0)
    cleo = signed_in("cleo")
    first, second = (_secret_of(cleo.post(f"{ONE}/secret", receiver="insights").text) for _ in range(2))

    def status(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return console.client.get("/nordlys/lookup?fromNumber=%2B46701740605", headers=headers).status_code

    assert [status(first), status(second), console.lookup().status_code] == [200, 200, 200]
    digits = digest(first).removeprefix("sha256:")[:8]
    assert f'name="digits" value="{digits}"' in cleo.get(ONE).text
    assert cleo.post(f"{ONE}/secret/revoke", receiver="insights", digits=digits).status_code == 303
    assert [status(first), status(second), console.lookup().status_code] == [403, 200, 200]
    last = cleo.post(f"{ONE}/secret/revoke", receiver="insights", digits="")
    assert last.status_code == 400
    assert "secrets begin so" in last.text
    done = [entry.action for entry in access_of(console).audit.entries("nordlys")]
    assert {"secret added", "secret revoked"} <= set(done)


def test_no_page_has_a_secret(console: House, signed_in: SignIn) -> None:
    """What is valid is on no page, for nobody; what an adapter's secret settings are neither."""
    secrets = {secret for customer in console.customers.values() for secret in customer.secrets.values()}
    for name in ("ada", "cleo", "nora"):
        text = signed_in(name).get(ONE).text
        assert not [secret for secret in secrets if secret in text]
    assert "Settings of" in signed_in("ada").get(ONE).text
    assert "Settings of" not in signed_in("cleo").get(ONE).text


def test_a_link_for_the_customers_admin_is_made_and_revoked(console: House, signed_in: SignIn) -> None:
    """The link that the form shows opens this customer's page and changes nothing, until it is revoked."""
    cleo = signed_in("cleo")
    found = re.search(r"http://127.0.0.1:8080(/-/console/link/[\w.-]+)", cleo.post(f"{ONE}/link", days="3").text)
    assert found
    person = Person(console.app.test_client())
    person.post(found[1])
    assert person.get(ONE).status_code == 200
    assert 'name="receiver"' not in person.get(ONE).text
    (link,) = access_of(console).links.list_links("nordlys")
    assert f"Revoke {link.id}" in cleo.get(ONE).text
    assert cleo.post(f"{HOME}/customer/harbour/link/revoke", link=link.id).status_code == 404, "another's"
    assert cleo.post(f"{ONE}/link/revoke", link=link.id).status_code == 303
    assert person.get(ONE).status_code == 303


@pytest.mark.parametrize("way", ["account", "link"])
def test_a_customers_admin_changes_nothing(console: House, signed_in: SignIn, way: str) -> None:
    """Neither his account nor a link adds customers, secrets or links."""
    person = signed_in("nora")
    if way == "link":
        person = Person(console.app.test_client())
        person.post(f"{HOME}/link/{access_of(console).links.make('nordlys', 'ada')[1]}")
    before = {path.name: path.read_bytes() for path in (console.folder / "customers").iterdir()}
    assert person.post(f"{LIST}/add", **NEW).status_code == 403
    for action in ("settings", "secret", "secret/revoke", "link", "link/revoke", "connect"):
        assert person.post(f"{ONE}/{action}", receiver="insights").status_code == 403, action
    assert {path.name: path.read_bytes() for path in (console.folder / "customers").iterdir()} == before


def test_a_region_is_mended_by_form(console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Customer Care changes the settings, in force at once and written down without a number; faults come by field."""
    monkeypatch.setattr(registry, "LOOK_EVERY", 0.0)
    cleo = signed_in("cleo")
    assert 'name="region" value="SE"' in cleo.get(ONE).text
    wrong = cleo.post(f"{ONE}/settings", region="XX", name="Nordlys & Co")
    assert wrong.status_code == 400
    assert "region: Write a country as ISO 3166 has it" in wrong.text
    assert 'name="name" value="Nordlys &amp; Co"' in wrong.text, "what somebody typed is not lost"
    assert cleo.post(f"{ONE}/settings", region="NO", own_numbers="+4721090000").status_code == 303
    tenant = console.parts.tenants.get("nordlys")
    assert tenant
    assert (tenant.region, tenant.own_numbers, tenant.name) == ("NO", frozenset({"+4721090000"}), "Nordlys AB")
    (last, _) = access_of(console).audit.entries("nordlys")
    assert (last.who, last.action, last.about) == ("cleo", "settings changed", "region, own_numbers")


def test_only_staff_change_settings(console: House, signed_in: SignIn) -> None:
    """A customer's admin sees no form, and his own is refused."""
    file = console.folder / "customers" / "nordlys.toml"
    before = file.read_bytes()
    nora = signed_in("nora")
    assert 'name="region"' not in nora.get(ONE).text
    assert nora.post(f"{ONE}/settings", region="NO").status_code == 403
    assert signed_in("ada").post(f"{HOME}/customer/nobody/settings", region="NO").status_code == 404
    assert file.read_bytes() == before
