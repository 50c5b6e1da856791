"""Where a recording may be fetched from: https, a host that the customer allows, and public addresses only.

The name is resolved once, every address of the answer must be public, and the connection goes to these addresses and
no others: a name that changes its mind between the check and the connection (rebinding) has nothing to change.
Hand-written: the libraries for it miss addresses or look at the first record only (``::127.0.0.1``,
``168.63.129.16``; requests-hardened 1.3, microsoft-antissrf 1.0), and none of them speaks to libcurl.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import certifi

from middleware.errors import RecordingError, RecordingRefusedError

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
MAX_URL = 8192  # characters; signed links are long
_NAME = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"  # never an IP address
_URL = re.compile(rf"https://({_NAME})(?::([1-9][0-9]{{0,4}}))?(/[!-~]*)?(\?[!-~]*)?", re.I)
_NOT_IN_A_URL = re.compile(r"[^!-~]|[\\<>\"^`{|}]")  # what two readers of a URL may understand differently
_GLOBAL_V6 = ip_network("2000::/3")  # so ::/8 (mapped, NAT64), fec0::/10, ff00::/8 and the rest are refused
# what ``is_global`` takes for public, or took in one of the Pythons that we run on
_REFUSED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared by a provider's customers; Alibaba's metadata
        "168.63.129.16/32",  # Azure's own services
        "192.0.0.0/24",  # protocols; Oracle's metadata
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "2001::/23",  # Teredo, ORCHID and other protocols
        "2001:db8::/32",  # examples
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # examples
    )
)


def is_public(address: Address) -> bool:
    """Whether ``address`` is one of the open Internet's, and leads nowhere else by translation."""
    if address.version == 6 and address not in _GLOBAL_V6:
        return False
    return address.is_global and not any(address in network for network in _REFUSED)


def resolve(host: str, port: int) -> list[str]:
    """Return what the machine's resolver says, in its order; raises ``OSError``."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """How the outside is reached; only tests have another one than the default.

    ``opened`` is told the address of every connection that is about to be made.
    """

    resolve: Resolve = resolve
    is_allowed: Callable[[Address], bool] = is_public
    ca_file: str = field(default_factory=certifi.where)
    opened: Callable[[str], None] = lambda _address: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A URL that may be asked for: its parts as they were checked, and no other reading of them."""

    host: str
    port: int
    target: str = field(repr=False)  # path and query: they are the key to the recording

    @property
    def url(self) -> str:
        """The URL, put together from what was checked."""
        port = "" if self.port == 443 else f":{self.port}"
        return f"https://{self.host}{port}{self.target}"


def read_url(url: str) -> Source:
    """Return the parts of an https URL with a DNS name; raises :class:`RecordingRefusedError`."""
    match = _URL.fullmatch(url) if len(url) <= MAX_URL and not _NOT_IN_A_URL.search(url) else None
    if match is None:
        raise RecordingRefusedError("The sender's link is no https URL with a plain host name.")
    host, port, path, query = match.groups()
    if int(port or 443) > 65535:
        raise RecordingRefusedError("The sender's link has an impossible port.")
    return Source(host=host.lower(), port=int(port or 443), target=(path or "/") + (query or ""))


def check_host(source: Source, allowed: Iterable[str]) -> None:
    """Raise :class:`RecordingRefusedError` unless ``allowed`` has the host: ``a.b``, ``a.b:8443`` or ``*.b``."""
    port = "" if source.port == 443 else f":{source.port}"
    for entry in allowed:
        name, colon, entry_port = entry.partition(":")
        is_host = source.host.endswith(name[1:]) if name.startswith("*.") else source.host == name
        if is_host and port == colon + entry_port:
            return
    raise RecordingRefusedError(f"{source.host}{port} is not among the customer's [recordings] hosts.")


def find_addresses(source: Source, outside: Outside) -> list[str]:
    """Return all addresses of the host; every one is public, or none is returned.

    Raises :class:`RecordingRefusedError` for an address inside, :class:`RecordingError` when there is none.
    """
    try:
        found = list(dict.fromkeys(outside.resolve(source.host, source.port)))
    except (OSError, UnicodeError):
        raise RecordingError(f"{source.host} cannot be found in the DNS.") from None
    if not found:
        raise RecordingError(f"{source.host} has no address in the DNS.")
    for text in found:
        try:
            is_fine = outside.is_allowed(ip_address(text))
        except ValueError:
            is_fine = False
        if not is_fine:
            raise RecordingRefusedError(f"{source.host} leads to an address that is not public.")
    return found
