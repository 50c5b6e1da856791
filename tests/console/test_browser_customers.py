"""Customers and plots in a real Chromium: added, registered, looked at."""

from __future__ import annotations

import json
import re
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

from middleware.tenants import registry
from tests.conftest import House, call_log
from tests.console.conftest import HOME, OpenPage
from tests.console.test_browser_care import connect_crm


def test_customer_care_adds_a_customer_whose_first_lookup_answers(
    open_page: OpenPage, console: House, apart: House, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form gives URL and secret to copy; with a CRM in the file the first lookup with them has the contact."""
    monkeypatch.setattr(registry, "LOOK_EVERY", 0.0)
    page = open_page("cleo", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("link", name="Customers").click()
    page.get_by_role("link", name="Add a customer").click()
    for label, value in (("Id", "acme"), ("Name", "Acme AB"), ("Country", "SE")):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="The new customer acme")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    url, secret = (re.search(rf"{what} +(\S+)", copied)[1] for what in ("Number lookup URL", "Secret"))  # type: ignore[index]
    connect_crm(console)
    asked = url.replace("http://127.0.0.1:8080", place) + "?fromNumber=0701740605"
    with urlopen(Request(asked, headers={"Authorization": f"Bearer {secret}"}), timeout=10) as answer:
        assert json.load(answer)["displayName"] == "Maria Andersson"
    apart.parts.counts.publish()  # as it is once a second
    page.get_by_role("link", name="To acme's page").click()
    expect(page.get_by_role("heading", name="Acme AB")).to_be_visible()
    expect(page.get_by_text("100 %")).to_be_visible()


def test_a_customer_is_found_while_typing(open_page: OpenPage) -> None:
    """The list changes in place as somebody types."""
    page = open_page("cleo")
    page.get_by_role("link", name="Customers").click()
    expect(page.get_by_role("link", name="harbour")).to_be_visible()
    page.get_by_label("Id or name").press_sequentially("nordl")
    expect(page.get_by_role("link", name="harbour")).to_have_count(0)
    page.get_by_role("link", name="nordlys").click()
    expect(page.get_by_role("heading", name="What to register")).to_be_visible()


def test_plots_say_what_they_show(open_page: OpenPage, console: House) -> None:
    """A plot tells its figures to who does not see it."""
    console.lookup()
    console.lookup("+46701740699")
    console.post(call_log(fromNumber="+46701740605"))
    console.deliver()
    page = open_page()
    page.goto(f"{HOME}/plots?customer=nordlys")
    plot = page.get_by_role("img", name=re.compile("Lookups by outcome: hit 1, miss 1."))
    expect(plot).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Attempts to write a call .* delivered 1"))).to_be_visible()
