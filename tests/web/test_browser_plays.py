"""A real browser plays a recording from its link, over the product's own server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from middleware.web.inline import InlineWorker
from middleware.web.recordings import MAX_PART
from tests.conftest import House
from tests.recordings.keeping import CONFIG, keep
from tests.recordings.outside import wav
from tests.web.serving import served

SECONDS = 200  # more than three parts of what a player gets at once
PAGE = """<!doctype html><audio id=a src="%s" muted></audio><script>
const told = {}, a = document.getElementById("a");
const tell = what => fetch("/told?" + encodeURIComponent(JSON.stringify(what)));
a.onerror = () => tell({error: a.error.message});
a.onloadedmetadata = () => { told.duration = a.duration; a.currentTime = a.duration - 1; };
a.onseeked = () => a.play().catch(error => tell({error: String(error)}));
a.onended = () => tell({...told, ended: true, at: a.currentTime});
</script>"""


@pytest.fixture
def chromium() -> str:
    program = shutil.which("chromium")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("chromium is missing: apt-get install chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    return program


@pytest.fixture
def link(house: House) -> Iterator[str]:
    """Serve a recording, and return its link."""
    file = house.folder / "customers" / "nordlys.toml"
    file.write_text(file.read_text() + CONFIG)
    body = wav(SECONDS)
    assert len(body) > 3 * MAX_PART
    path = keep(house.parts.recordings, body)
    with served(house.app, InlineWorker) as (_, (host, port)):
        yield f"http://{host}:{port}{path}"


@contextmanager
def page_with(link: str) -> Iterator[tuple[str, SimpleQueue[Any]]]:
    """Serve a page that plays ``link``, as a CRM might; what it tells comes into the queue."""
    told: SimpleQueue[Any] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, said = self.path.partition("?")
            if path == "/told":
                told.put(json.loads(unquote(said)))
            body = (PAGE % link).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()
        thread.join()


def _command(chromium: str, folder: Path, *more: str) -> list[str]:
    # no sandbox of its own: it wants rights that tests do not have; no proxies of the environment
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
    options += ["--mute-audio", "--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
    return [chromium, *options, f"--user-data-dir={folder / 'browser'}", *more]


def test_a_browser_plays_a_recording_to_its_end(house: House, link: str, chromium: str, tmp_path: Path) -> None:
    """A player knows the length of a long recording, jumps to its last second and plays it to the end."""
    with page_with(link) as (page, told):
        browser = subprocess.Popen(
            _command(chromium, tmp_path, page), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            said = told.get(timeout=45)
        finally:
            browser.kill()
            browser.wait()
    assert said == {"duration": SECONDS, "ended": True, "at": SECONDS}
    (one,) = house.parts.recordings.list_recordings()
    assert one.played >= 2


def test_the_link_itself_opens_a_player(link: str, chromium: str, tmp_path: Path) -> None:
    """Who clicks the link sees the browser's own player, and no download."""
    shown = subprocess.run(
        _command(chromium, tmp_path, "--dump-dom", link), capture_output=True, text=True, check=True, timeout=45
    ).stdout
    assert "<video" in shown
    assert 'type="audio/wav"' in shown
