"""The console without a mouse, in a real Chromium: in, a lookup, a replay; and parts of pages that are replaced."""

from __future__ import annotations

from playwright.sync_api import Browser, Locator, Page, Route, expect

from middleware.parts import build_worker
from tests.conftest import House
from tests.console.conftest import HOME, PASSWORD, OpenPage
from tests.console.test_calls import log, set_state

MOST = 80  # stops of a page


def go_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it has the focus, and see that it shows."""
    expect(wanted).to_be_visible()
    for _ in range(MOST):
        if wanted.evaluate("e => e === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(wanted).to_be_focused()
    assert wanted.evaluate("e => getComputedStyle(e).outlineStyle") == "solid", "focus is seen"


def follow(page: Page, name: str) -> None:
    go_to(page, page.get_by_role("link", name=name, exact=True))
    page.keyboard.press("Enter")


def press(page: Page, name: str) -> None:
    go_to(page, page.get_by_role("button", name=name, exact=True))
    page.keyboard.press("Enter")


def type_into(page: Page, label: str, text: str) -> None:
    go_to(page, page.get_by_label(label, exact=True))
    page.keyboard.type(text)


def test_a_lookup_and_a_replay_without_a_mouse(console: House, browser: Browser, place: str) -> None:
    """Somebody signs in, tries a lookup, finds the dead letter, replays it and sees it arrive, by keys alone."""
    log(console)
    console.deliver()
    set_state(console, "dead")
    with browser.new_context(base_url=place) as context:
        page = context.new_page()
        page.goto(HOME)
        type_into(page, "Name", "cleo")
        type_into(page, "Password", PASSWORD)
        page.keyboard.press("Enter")
        follow(page, "Try a lookup")
        type_into(page, "Customer", "nordlys")
        type_into(page, "Number", "070-174 06 05")
        page.keyboard.press("Enter")
        expect(page.get_by_role("article", name="The card of Maria Andersson")).to_be_visible()
        expect(page.get_by_label("Number", exact=True)).to_be_focused()
        follow(page, "Calls")
        go_to(page, page.locator("select[name=state]"))
        page.keyboard.type("dead")
        press(page, "Search")
        expect(page.get_by_role("cell", name="dead letter")).to_have_count(1)
        worker = build_worker(console.parts)
        press(page, "Replay all that match")
        expect(page.get_by_text("All that matched will be tried")).to_be_visible()
        worker.start()
        try:
            expect(page.get_by_text("Done.")).to_be_visible(timeout=30_000)
        finally:
            worker.stop()


def test_the_focus_stays_when_a_part_is_replaced(open_page: OpenPage, console: House) -> None:
    """“Older” is pressed again and again with one key; where it ends the focus is on the list, not lost."""
    for number in range(120):
        log(console, startTime=1772366400000 + 60_000_000 * number)
    page = open_page("cleo")
    page.goto(f"{HOME}/calls")
    older = page.get_by_role("button", name="Older")
    older.focus()
    newest = page.locator("tbody a").first.inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=newest)).to_have_count(0)
    expect(older).to_be_focused()
    page.keyboard.press("Enter")
    expect(older).to_have_count(0)
    expect(page.locator("#result")).to_be_focused()


def test_a_page_follows_a_call_through_an_outage(console: House, browser: Browser, place: str) -> None:
    """While the server answers 503 the page stays as it is, and goes on by itself when that is over."""
    event_id = log(console)
    asked: list[str] = []

    def fail(route: Route) -> None:
        asked.append(route.request.url)
        body = "<main id='main'>out of order</main>"
        route.fulfill(status=503, content_type="text/html", body=body) if len(asked) < 3 else route.continue_()

    with browser.new_context(base_url=place) as context:
        page = context.new_page()
        page.goto(HOME)
        page.get_by_label("Name").fill("cleo")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        page.goto(f"{HOME}/events/{event_id}")
        page.route(f"**/events/{event_id}", fail)
        expect(page.get_by_text("accepted, not looked at yet")).to_be_visible()
        console.deliver()
        expect(page.get_by_role("cell", name="in the CRM")).to_be_visible(timeout=15_000)
    assert len(asked) >= 3


def test_a_refusal_is_shown_in_place(open_page: OpenPage) -> None:
    """What is refused says why on the same page, with what was typed and with the focus where it was."""
    page = open_page("cleo")
    page.get_by_role("link", name="Try a lookup").click()
    page.evaluate("window.isTheSamePage = true")
    page.get_by_label("Customer").fill("nobody")
    page.get_by_label("Number", exact=True).fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No such customer.")).to_be_visible()
    expect(page.get_by_label("Number", exact=True)).to_have_value("1")
    expect(page.get_by_label("Number", exact=True)).to_be_focused()
    assert page.evaluate("window.isTheSamePage")
