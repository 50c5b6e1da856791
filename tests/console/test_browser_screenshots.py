"""The pictures in the documentation: taken here, small, of made-up people, and of pages that are still called so.

``make screenshots`` takes them anew; any other run takes them, too, and keeps them to itself.
"""

from __future__ import annotations

import os
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import ViewportSize, expect

from middleware.settings import ROOT
from tests.conftest import House
from tests.console.busy import Busy, Place, make_busy
from tests.console.conftest import OpenPage, SignIn
from tests.console.test_browser_every_page import visit

KEPT = ROOT / "docs" / "images"
WINDOW, HIGHEST = ViewportSize(width=1000, height=700), 1500  # pixels
COLOURS = 64  # so few that a picture is small
MOST = 100_000  # bytes of a picture
HOW = "make screenshots takes the pictures anew"


def places_of(busy: Busy) -> dict[str, Place]:
    """Return what is pictured, by the end of the picture's name."""
    return {
        "overview": Place(""),
        "lookup": Place("lookup", {"customer": "nordlys", "number": "070-174 06 05"}),
        "miss": Place("lookup", {"customer": "nordlys", "number": "0701740699"}),
        "calls": Place("calls"),
        "event": Place(f"events/{busy.event}"),
        "customer": Place("customer/nordlys"),
        "sender": Place("sender", {"customer": "nordlys", "event": "pbx.queue_call", "number": "070-174 06 05"}),
    }


NAMES = list(places_of(Busy(*[""] * 7)))


def alt_of(page: str, picture: str) -> str:
    """Return what a page of the documentation says of a picture, to who does not see it."""
    shown = re.search(rf"\.\. image:: \S*console-{picture}\.png\n +:alt: (.+)", (ROOT / page).read_text())
    assert shown, f"{page} does not show console-{picture}.png"
    return shown[1]


@pytest.fixture
def unhurried() -> None:
    """Leave the customers the time that they have, since it is in the pictures."""


def test_pictures_are_small_and_pages_are_still_called_so(
    open_page: OpenPage, console: House, signed_in: SignIn, tmp_path: Path
) -> None:
    """Each page is pictured within 100 kB, and what the documentation says of it begins with the page's title."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    busy = make_busy(console, signed_in())
    page = open_page(viewport=WINDOW, color_scheme="light")
    for name, place in places_of(busy).items():
        visit(page, place)
        expect(page.locator("h1")).to_be_visible()
        picture = folder / f"console-{name}.png"
        _write(picture, page.screenshot(full_page=True, animations="disabled"))
        assert picture.stat().st_size <= MOST, name
        title = page.locator("h1").inner_text().replace(busy.event, "").strip()
        assert alt_of("docs/console.rst", name).startswith(title), HOW


def _write(path: Path, picture: bytes) -> None:
    """Keep the upper part of the page, in a few colours."""
    with Image.open(BytesIO(picture)) as image:
        part = image.convert("RGB").crop((0, 0, image.width, min(image.height, HIGHEST)))
        part.quantize(COLOURS).save(path, "PNG", optimize=True)


def test_all_pictures_are_there_and_no_other() -> None:
    """What the documentation shows is in the repository, small, and nothing else lies beside it."""
    assert {path.stem for path in KEPT.iterdir()} == {f"console-{name}" for name in NAMES}, HOW
    assert {path.name for path in KEPT.iterdir() if path.stat().st_size > MOST} == set()
