"""Whatever a file server does, a fetch ends in time, takes no more than it may, and says what was wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from middleware.errors import RecordingError, RecordingRefusedError
from middleware.recordings.address import Outside, read_url
from middleware.recordings.fetch import Fetched, Limits, fetch
from tests.recordings.outside import FileServer, wav, whole

Fetch = Callable[..., Fetched]


@pytest.fixture
def get(served: FileServer, tmp_path: Path) -> Fetch:
    """Fetch a path of the file server."""

    def fetched(path: str = "/a.wav", *, outside: Outside | None = None, **limits: object) -> Fetched:
        bounds = Limits(**{"seconds": 5.0, "keep_free": 0, "max_bytes": 1_000_000, **limits})  # type: ignore[arg-type]
        return fetch(read_url(served.url(path)), tmp_path / "file", outside or served.outside(), bounds)

    return fetched


def test_a_recording_is_on_disk_as_it_was_sent(served: FileServer, get: Fetch, tmp_path: Path) -> None:
    """What is fetched has its bytes, their SHA-256, and the type that its first bytes tell."""
    body = wav(2)
    served.answers["/a.wav?key=%2F"] = whole(body, headers={"Content-Type": "text/html"})
    found = get("/a.wav?key=%2F")
    assert (tmp_path / "file").read_bytes() == body
    assert (found.sha256, found.bytes) == (hashlib.sha256(body).hexdigest(), len(body))
    assert found.content_type == "audio/x-wav"


def test_nobody_s_credentials_are_sent(
    served: FileServer, get: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither credentials and proxies of the environment nor those of a .netrc get to a file server."""
    (tmp_path / ".netrc").write_text("machine files.example.com login ada password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    served.answers["/a.wav"] = whole(wav())
    get()
    assert set(served.seen[0][1]) == {"Host", "User-Agent", "Accept"}


def test_a_redirect_is_not_followed(served: FileServer, get: Fetch) -> None:
    """A file server cannot send us elsewhere, not even to itself."""
    served.answers["/a.wav"] = whole(b"", 302, headers={"Location": served.url("/b.wav")})
    served.answers["/b.wav"] = whole(wav())
    with pytest.raises(RecordingRefusedError, match="redirects"):
        get()
    assert [path for path, _ in served.seen] == ["/a.wav"]


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(65536))


def test_an_endless_body_is_cut_off(served: FileServer, get: Fetch, tmp_path: Path) -> None:
    """No more than the limit gets to the disk, of a body that never ends."""
    served.answers["/a.wav"] = _endless
    with pytest.raises(RecordingRefusedError, match="more than 1000000 bytes"):
        get()
    assert (tmp_path / "file").stat().st_size <= 1_000_000


def test_a_body_that_says_that_it_is_huge_is_not_begun(served: FileServer, get: Fetch, tmp_path: Path) -> None:
    """A length beyond the limit is believed at once."""
    served.answers["/a.wav"] = whole(b"x", length=10**12)
    with pytest.raises(RecordingRefusedError, match="more than 1000000 bytes"):
        get()
    assert (tmp_path / "file").stat().st_size == 0


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_dripping_server_is_left_in_time(served: FileServer, get: Fetch, part: str) -> None:
    """A byte now and then does not prolong the time that a whole fetch has."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"X-Slow: " if part == "head" else b"\r\n"))
        while not served.over.wait(0.02):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    served.answers["/a.wav"] = drip
    with pytest.raises(RecordingError, match="in time"):
        get(seconds=0.5)


def test_a_resolver_that_hangs_is_left_in_time(served: FileServer, get: Fetch) -> None:
    """A name server that never answers holds up no fetch."""

    def hang(_host: str, _port: int) -> list[str]:
        served.over.wait()
        return []

    with pytest.raises(RecordingError, match="in time"):
        get(outside=Outside(resolve=hang), seconds=0.1)


@pytest.mark.parametrize(
    ("body", "length", "words"), [(wav(), 10_000, "only a part"), (b"", None, "empty")], ids=["short", "empty"]
)
def test_a_part_is_no_recording(served: FileServer, get: Fetch, body: bytes, length: int | None, words: str) -> None:
    """A body that ends early, or is empty, is fetched again."""
    served.answers["/a.wav"] = whole(body, length=length)
    with pytest.raises(RecordingError, match=words) as caught:
        get()
    assert not isinstance(caught.value, RecordingRefusedError)


@pytest.mark.parametrize("status", [204, 206, 401, 404, 500, 503])
def test_any_other_status_is_tried_again(served: FileServer, get: Fetch, status: int) -> None:
    """An answer that is not 200 is no recording, but may become one."""
    served.answers["/a.wav"] = whole(b"" if status == 204 else wav(), status)
    with pytest.raises(RecordingError, match=str(status)) as caught:
        get()
    assert not isinstance(caught.value, RecordingRefusedError)


def test_little_space_is_left_alone(served: FileServer, get: Fetch, tmp_path: Path) -> None:
    """A fetch stops before the disk is full, so that calls can still be stored."""
    served.answers["/a.wav"] = whole(wav(10))
    with pytest.raises(RecordingError, match="too little space"):
        get(keep_free=10**9, free=lambda _folder: 10**9 - 1)
    assert (tmp_path / "file").stat().st_size == 0


def test_a_full_disk_is_said(served: FileServer, tmp_path: Path) -> None:
    """A write that fails ends the fetch with the system's own words."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    served.answers["/a.wav"] = whole(wav(10))
    with pytest.raises(RecordingError, match="No space left"):
        fetch(read_url(served.url()), full, served.outside(), Limits(seconds=5, keep_free=0))


def test_a_certificate_that_nobody_vouches_for_is_refused(served: FileServer, get: Fetch) -> None:
    """Without the test's own CA the same server is not asked for anything."""
    inner = served.outside()
    with pytest.raises(RecordingError, match="certificate"):
        get(outside=Outside(resolve=inner.resolve, is_allowed=inner.is_allowed))
    assert served.seen == []


def test_no_link_is_in_an_error(served: FileServer, get: Fetch) -> None:
    """What went wrong is said without the address that is the key to the recording."""
    with pytest.raises(RecordingError) as caught:
        get("/a.wav?key=s3cret")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
