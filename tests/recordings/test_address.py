"""What is never asked for a recording: 49 URLs, rebinding, mixed answers, other hosts."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from middleware.errors import RecordingError, RecordingRefusedError
from middleware.recordings.address import Outside, check_host, find_addresses, is_public, read_url
from middleware.recordings.fetch import Limits, fetch
from tests.recordings.corpus import CORPUS
from tests.recordings.outside import FileServer

LIMITS = Limits(seconds=5, keep_free=0)


def test_the_corpus_is_whole() -> None:
    """There are 49 different URLs that may not be fetched."""
    assert len({url for url, _ in CORPUS}) == 49


@pytest.mark.parametrize(("url", "leads_to"), CORPUS, ids=[ascii(url)[1:-1] for url, _ in CORPUS])
def test_nothing_inside_is_connected_to(url: str, leads_to: str, tmp_path: Path) -> None:
    """A URL that leads inside is refused before any connection, even when its host is one the customer allows."""
    opened: list[str] = []
    outside = Outside(resolve=lambda _host, _port: leads_to.split(), opened=opened.append)
    with pytest.raises(RecordingRefusedError):
        fetch(read_url(url), tmp_path / "file", outside, LIMITS)
    assert opened == []


@pytest.mark.parametrize("addresses", [text for _, text in CORPUS if text], ids=str)
def test_the_addresses_alone_are_refused(addresses: str) -> None:
    """Each address of the corpus is refused for itself, whatever name led there."""
    assert not all(is_public(ip_address(text)) for text in addresses.split())


@pytest.mark.parametrize("text", ["93.184.215.14", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_public_addresses_are_allowed(text: str) -> None:
    """Addresses of the open Internet are public."""
    assert is_public(ip_address(text))


def test_a_name_that_changes_its_mind_is_not_asked_twice(served: FileServer, tmp_path: Path) -> None:
    """The connection goes to the address that was checked, although the name leads elsewhere a moment later."""
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]]
    asked: list[str] = []

    def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers.pop(0)

    outside = Outside(
        resolve=resolve,
        is_allowed=lambda address: str(address) == "127.0.0.1",
        ca_file=str(served.ca_file),
        opened=served.opened.append,
    )
    with pytest.raises(RecordingError, match="404"):
        fetch(read_url(served.url("/nothing")), tmp_path / "file", outside, LIMITS)
    assert served.opened == ["127.0.0.1"]
    assert asked == ["files.example.com"]


@pytest.mark.parametrize("found", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "nonsense"]])
def test_a_mixed_answer_is_refused_as_a_whole(found: list[str], served: FileServer, tmp_path: Path) -> None:
    """One address that is not allowed spoils all the others, wherever it stands."""
    outside = Outside(
        resolve=lambda _host, _port: found,
        is_allowed=lambda address: str(address) == "127.0.0.1",
        opened=served.opened.append,
    )
    with pytest.raises(RecordingRefusedError, match="not public"):
        fetch(read_url(served.url()), tmp_path / "file", outside, LIMITS)
    assert served.opened == []


def test_the_machine_s_own_resolver_is_asked_by_default() -> None:
    """Without anything injected a name of this machine leads to an address that is refused."""
    source = read_url("https://localhost.localdomain.invalid/a")
    with pytest.raises(RecordingError):
        find_addresses(source, Outside())


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://files.example.com/a?b=c", ["files.example.com"]),
        ("https://FILES.example.com/a", ["files.example.com"]),
        ("https://files.example.com:8443/a", ["other.example.com", "files.example.com:8443"]),
        ("https://a.b.example.com", ["*.example.com"]),
    ],
)
def test_an_allowed_host_is_asked(url: str, allowed: list[str]) -> None:
    """A host is allowed by its name, by its name and port, or with all names below one."""
    check_host(read_url(url), allowed)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://files.example.com/a", []),
        ("https://files.example.com.evil.org/a", ["files.example.com"]),
        ("https://evilfiles.example.com/a", ["files.example.com"]),
        ("https://example.com/a", ["*.example.com"]),
        ("https://evilexample.com/a", ["*.example.com"]),
        ("https://files.example.com:8443/a", ["files.example.com"]),
        ("https://files.example.com/a", ["files.example.com:8443"]),
    ],
)
def test_any_other_host_is_refused(url: str, allowed: list[str]) -> None:
    """A host that only looks like an allowed one is refused."""
    with pytest.raises(RecordingRefusedError, match="hosts"):
        check_host(read_url(url), allowed)


def test_a_link_does_not_show() -> None:
    """What is secret of a link is in no representation of it."""
    assert "s3cret" not in repr(read_url("https://files.example.com/a?key=s3cret"))
