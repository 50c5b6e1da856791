"""Calls in a real Chromium: a dead CRM's calls are replayed after it is back, and a sample becomes a call."""

from __future__ import annotations

import json
import shutil

from playwright.sync_api import expect

from middleware.parts import build_worker
from tests.conftest import House
from tests.console.conftest import OpenPage
from tests.console.test_calls import log, set_state


def test_a_dead_crms_calls_are_replayed_after_it_is_back(open_page: OpenPage, console: House) -> None:
    """Customer Care finds the dead letters, replays them all, and watches them arrive."""
    crm = console.folder / "crm" / "nordlys.db"
    shutil.copy(crm, kept := crm.with_suffix(".kept"))
    crm.write_bytes(b"")  # its tables are gone
    ids = [log(console, startTime=1772366400000 + 60_000_000 * number) for number in range(3)]
    console.deliver()
    set_state(console, "dead")  # after days of trying
    page = open_page("cleo")
    page.get_by_role("link", name="Calls").click()
    page.get_by_label("State").select_option("dead")
    page.get_by_label("Customer").fill("nordlys")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("cell", name="dead letter")).to_have_count(3)
    page.get_by_role("link", name=ids[0]).click()
    expect(page.get_by_text("The CRM", exact=False).first).to_be_visible()
    page.go_back()
    page.get_by_label("State").select_option("dead")
    page.get_by_role("button", name="Search").click()
    shutil.copy(kept, crm)
    worker = build_worker(console.parts)
    page.get_by_role("button", name="Replay all that match").click()
    expect(page.get_by_text("All that matched will be tried")).to_be_visible()
    page.evaluate("window.isTheSamePage = true")
    worker.start()
    try:
        expect(page.get_by_text("Done.")).to_be_visible(timeout=30_000)
    finally:
        worker.stop()
    assert page.evaluate("window.isTheSamePage"), "the page follows by itself"
    expect(page.locator("dl div", has_text="in the CRM")).to_contain_text("3")


def test_a_sample_is_sent_and_watched(open_page: OpenPage, console: House) -> None:
    """Somebody acts as the PBX, changes the sample, sends it, and its page turns into that of a call in the CRM."""
    page = open_page("cleo")
    page.get_by_role("link", name="Act as a sender").click()
    page.get_by_label("Customer").fill("nordlys")
    page.get_by_label("Act as").select_option("pbx.queue_call")
    page.get_by_role("button", name="Make a sample").click()
    body = json.loads(page.get_by_label("The body").input_value())
    page.get_by_label("The body").fill(json.dumps(body | {"call_duration": 61}))
    page.get_by_role("button", name="Send it").click()
    expect(page.get_by_text("accepted, not looked at yet")).to_be_visible()
    worker = build_worker(console.parts)
    worker.start()
    try:
        expect(page.get_by_role("cell", name="in the CRM")).to_be_visible(timeout=30_000)
    finally:
        worker.stop()
    expect(page.get_by_text("1 min 01 s")).to_be_visible()
