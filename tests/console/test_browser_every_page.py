"""Every page there is, with something on it, in a real Chromium: for everybody's eyes, and on a phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize, expect

from middleware.console.mount import SECTIONS
from tests.conftest import House
from tests.console.busy import Place, make_busy
from tests.console.conftest import OpenPage, SignIn

PHONE, DESK = ViewportSize(width=375, height=800), ViewportSize(width=1280, height=800)
PARTS = 4  # of which each is a test, so that two processors can share them
WITHOUT = ("static", "openid")  # sections that show no page of their own
SUBMIT = """([url, values]) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = url;
  values.csrf = JSON.parse(document.body.getAttribute("hx-headers"))["X-Csrf-Token"];
  for (const [name, value] of Object.entries(values)) {
    const input = document.createElement("input");
    [input.type, input.name, input.value] = ["hidden", name, value];
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}"""

SERIOUS = """(options) => axe.run(options).then(({violations}) => violations
  .filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => [one.id, one.nodes[0].html]))"""
TOO_WIDE = """() => document.documentElement.scrollWidth <= window.innerWidth ? [] : [...document.querySelectorAll("*")]
  .filter((one) => one.getBoundingClientRect().right > window.innerWidth && !one.closest(".scroll, pre"))
  .map((one) => one.outerHTML.slice(0, 200))"""


def visit(page: Page, place: Place) -> None:
    """Go there, or send the form that leads there."""
    if place.form:
        with page.expect_navigation():
            page.evaluate(SUBMIT, [place.url, place.form])
    else:
        page.goto(place.url)


def assert_fit(page: Page, *rules: str) -> None:
    """Assert that axe finds nothing serious, by some ``rules`` or all, and nothing is too wide."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    assert page.evaluate(SERIOUS, options) == [], page.url
    assert page.evaluate(TOO_WIDE) == [], page.url


def test_no_view_is_forgotten(console: House, signed_in: SignIn) -> None:
    """Every view of every section is among the places that the next test looks at."""
    sections = {section.name for section in SECTIONS} - set(WITHOUT)
    endpoints = [rule.endpoint.split(".", 1) for rule in console.app.url_map.iter_rules()]
    views = {view for blueprint, view in endpoints if blueprint == "console" and view.partition(".")[0] in sections}
    assert views == set(make_busy(console, signed_in()).places)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_is_for_everybody(open_page: OpenPage, console: House, signed_in: SignIn, part: int) -> None:
    """On a phone in the light and at a desk in the dark: axe calls nothing serious, and no page scrolls sideways."""
    busy = make_busy(console, signed_in())
    page = open_page()
    sections = list(dict.fromkeys(view.partition(".")[0] for view in busy.places))[part::PARTS]
    for places in (places for view, places in busy.places.items() if view.partition(".")[0] in sections):
        for place in places:
            visit(page, place)
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            page.evaluate(AXE_SCRIPT)
            page.set_viewport_size(PHONE)
            page.emulate_media(color_scheme="light")
            assert_fit(page)
            page.set_viewport_size(DESK)
            page.emulate_media(color_scheme="dark")
            assert_fit(page, "color-contrast")  # the rest was looked at already
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible(visible="signing_in" in sections)
