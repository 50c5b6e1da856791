"""The console in a real Chromium: with and without JavaScript, and by keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import House
from tests.console.conftest import HOME, OpenPage, access_of

NUMBER = "070-174 06 05"


def try_lookup(page: Page, customer: str = "nordlys", number: str = NUMBER) -> None:
    page.get_by_role("link", name="Try a lookup").click()
    page.get_by_label("Customer").fill(customer)
    page.get_by_label("Number", exact=True).fill(number)
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("heading", name="Outcome")).to_be_visible()


def test_customer_care_sees_why_and_then_the_card(
    open_page: OpenPage, console: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A miss is explained; once the region is mended the same form shows the card, in place."""
    monkeypatch.setattr("middleware.tenants.registry.LOOK_EVERY", 0.0)
    file = console.folder / "customers" / "nordlys.toml"
    right = file.read_text()
    assert 'region = "SE"' in right
    file.write_text(right.replace('region = "SE"', 'region = "DE"'))
    page = open_page("cleo")
    try_lookup(page, number="+46 70 174 06 05")
    expect(page.get_by_role("heading", name="Outcome: miss")).to_be_visible()
    expect(page.get_by_text("have the number in `numbers`").first).to_be_visible()
    file.write_text(right)
    page.evaluate("window.isTheSamePage = true")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("article", name="The card of Maria Andersson")).to_be_visible()
    expect(page.get_by_role("link", name="Ny anteckning")).to_have_attribute("rel", "noopener noreferrer nofollow")
    assert page.evaluate("window.isTheSamePage")
    assert page.url.endswith("/lookup"), "no address has the number"


def test_everything_works_without_a_script(open_page: OpenPage) -> None:
    """Without JavaScript the same forms show the same."""
    page = open_page(java_script_enabled=False)
    try_lookup(page)
    expect(page.get_by_role("article", name="The card of Maria Andersson")).to_be_visible()
    page.get_by_role("link", name="Trace", exact=False).last.click()
    expect(page.get_by_role("heading", name="hit")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_keyboard_is_enough(open_page: OpenPage) -> None:
    """The first stop skips the navigation, focus is seen, and Enter looks up."""
    page = open_page()
    page.get_by_role("link", name="Try a lookup").click()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Customer")).to_be_focused()
    assert page.get_by_label("Customer").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.type("nordlys")
    page.keyboard.press("Tab")
    page.keyboard.type(NUMBER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Outcome: hit")).to_be_visible()


def test_the_json_is_copied(open_page: OpenPage) -> None:
    """A click has the JSON in the clipboard, or selected where the browser gives no clipboard."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    try_lookup(page)
    page.get_by_role("button", name="Copy the JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert '"displayName": "Maria Andersson"' in page.evaluate("navigator.clipboard.readText()")


def test_a_link_opens_after_a_button(open_page: OpenPage, console: House, browser: Browser, place: str) -> None:
    """The customer's own admin comes in with one press, and sees himself alone."""
    open_page()
    _, text = access_of(console).links.make("nordlys", "ada")
    with browser.new_context(base_url=place) as context:
        page = context.new_page()
        page.goto(f"{HOME}/link/{text}")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("reads only")).to_be_visible()
        expect(page.get_by_role("link", name="Audit log")).to_have_count(0)
