"""Customer Care alone, in a real Chromium: a customer is added, a miss explained and mended, the card is there."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from middleware.tenants import registry
from tests.conftest import House
from tests.console.conftest import OpenPage

NATIONAL = "070-174 06 16"  # of Sweden; the CRM has it with its country


def test_customer_care_explains_a_miss_and_mends_it(
    open_page: OpenPage, console: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer of the wrong country does not find a national number, the page says why, its form mends it."""
    monkeypatch.setattr(registry, "LOOK_EVERY", 0.0)
    page = open_page("cleo")
    page.get_by_role("link", name="Customers").click()
    page.get_by_role("link", name="Add a customer").click()
    for label, value in (("Id", "acme"), ("Name", "Acme AB"), ("Country", "DE")):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Add").click()
    page.get_by_role("link", name="To acme's page").click()
    expect(page.get_by_text("No CRM is connected yet")).to_be_visible()
    connect_crm(console)

    page.get_by_role("link", name="Try a lookup").last.click()
    expect(page.get_by_label("Customer")).to_have_value("acme")
    page.get_by_label("Number", exact=True).fill(NATIONAL)
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("heading", name="Outcome: miss")).to_be_visible()
    expect(page.get_by_text(re.compile(r"The number was read as \+49[ 0-9]+\."))).to_be_visible()
    page.get_by_role("link", name="is that the customer's country?").click()
    page.get_by_label("Country").fill("XX")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("region: Write a country as ISO 3166 has it, e.g. SE.")
    page.get_by_label("Country").fill("SE")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("acme · SE")).to_be_visible()

    page.get_by_role("link", name="Try a lookup").last.click()
    page.get_by_label("Number", exact=True).fill(NATIONAL)
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("article", name="The card of Elin Ström")).to_be_visible()


def connect_crm(console: House) -> None:
    """Write the Swedish demo's CRM into the new customer's file, as the hoster does with an editor."""
    new, other = (console.folder / "customers" / f"{name}.toml" for name in ("acme", "nordlys"))
    connected = re.search(r"^\[\[crm\]\].*?(?=^\[(?!crm)|\Z)", other.read_text(), re.MULTILINE | re.DOTALL)
    assert connected
    new.write_text(f"{new.read_text()}\n{connected[0]}")
