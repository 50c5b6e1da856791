"""Refuses, unheard and for a while, whoever sends one customer's wrong secret again and again (RELIABILITY, T3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Lock

import structlog
from cachetools import TTLCache

Network = IPv4Network | IPv6Network

MOST = 100  # wrong secrets of one address for one customer ...
WINDOW = timedelta(minutes=1)  # ... since none came for so long; then it is not heard for as long
ADDRESSES = 10_000  # with their customers, that are remembered
_HEADERS = 4_096  # with their peers, whose sender is remembered ...
_HEADER = 500  # ... if they have no more characters: anybody can send many long ones
_NEIGHBOURS = 64  # bits of an IPv6 address that one sender has to himself

log = structlog.get_logger("m8crm.web")


class Guesses:
    """The wrong secrets that one process has seen.

    They are counted by address *and* customer: a customer whose secret somebody guesses is heard from elsewhere, and
    the one address from which a cloud PBX sends for all customers is heard for those whose secret is right.
    """

    def __init__(self, trusted: Sequence[Network], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._trusted = trusted
        self._clock = clock
        self._wrong: TTLCache[tuple[str, str], int] = TTLCache(ADDRESSES, WINDOW.total_seconds(), timer=clock)
        self._lock = Lock()
        self._quiet_from = clock()  # from then on nobody is remembered: right secrets cost nothing
        self._remembered = lru_cache(maxsize=_HEADERS)(self._address)

    def address(self, peer: str, forwarded: str) -> str:
        """Return who sent a request that ``peer`` connected for; nothing if only proxies are known.

        ``forwarded`` is ``X-Forwarded-For``, of which only what trusted proxies have added is believed.
        """
        find = self._remembered if len(forwarded) <= _HEADER else self._address
        return find(peer, forwarded)

    def _address(self, peer: str, forwarded: str) -> str:
        for text in reversed([*forwarded.split(","), peer]):
            try:
                found = ip_address(text.strip())
            except ValueError:  # nothing, a socket's path, or what nobody can trust
                return ""
            if isinstance(found, IPv6Address):  # a socket for both kinds tells an IPv4 sender so: ::ffff:203.0.113.9
                found = found.ipv4_mapped or found
            if not any(found in network for network in self._trusted):
                is_wide = isinstance(found, IPv6Address)
                return str(ip_network((found, _NEIGHBOURS), strict=False)) if is_wide else str(found)
        return ""

    def refuses(self, peer: str, forwarded: str, customer: str) -> bool:
        """Whether the sender has been wrong too often to be heard; for the rest see :meth:`address`."""
        if self._clock() >= self._quiet_from:
            return False
        with self._lock:
            return self._wrong.get((self.address(peer, forwarded), customer), 0) >= MOST

    def note(self, address: str, customer: str) -> None:
        """Count a wrong secret."""
        if not address:
            return
        with self._lock:
            count = self._wrong[address, customer] = self._wrong.get((address, customer), 0) + 1
            self._quiet_from = self._clock() + WINDOW.total_seconds()
        if count == MOST:
            log.warning("address_refused", address=address, customer=customer, seconds=round(WINDOW.total_seconds()))
