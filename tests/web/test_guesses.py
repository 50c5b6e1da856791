"""Whoever guesses secrets is not heard for a while, and nobody else is hurt by it."""

from __future__ import annotations

import tracemalloc
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.web.guesses import MOST, WINDOW, Guesses
from tests.conftest import House
from tests.web.pair import SECRET, Pair, assert_same

ONE, OTHER = "203.0.113.9", "198.51.100.7"
NETWORKS = [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")]
LOOKUP = "/nordlys/lookup?fromNumber=%2B46701740605"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(house: House, secret: str, sender: str, path: str = LOOKUP) -> int:
    headers = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": sender}
    return house.client.get(path, headers=headers).status_code


def test_a_thousand_guesses_end_at_the_limit(house: House) -> None:
    """One address may be wrong about a customer so often; then even the right secret is not heard from it."""
    statuses = [ask(house, f"guess-{i}", ONE) for i in range(1000)]
    assert statuses == [403] * MOST + [429] * (1000 - MOST)
    right = house.customers["nordlys"].secrets["insights"]
    assert ask(house, right, ONE) == 429
    assert ask(house, right, OTHER) == 200


def test_other_customers_of_the_same_sender_are_heard(house: House) -> None:
    """A cloud PBX sends for all customers from one address: one with a wrong secret does not silence the others."""
    for _ in range(MOST + 1):
        last = ask(house, "wrong", ONE)
    assert last == 429
    assert ask(house, house.customers["harbour"].secrets["insights"], ONE, LOOKUP.replace("nordlys", "harbour")) == 404


def test_the_answer_says_when_to_come_back(house: House) -> None:
    """Who is refused for his guesses is told so, and for how long."""
    for _ in range(MOST):
        ask(house, "wrong", ONE)
    answer = house.client.get(LOOKUP, headers={"Authorization": "Bearer wrong", "X-Forwarded-For": ONE})
    assert answer.get_json() == {"message": "Too many wrong secrets came from this address."}
    assert answer.headers["Retry-After"] == str(round(WINDOW.total_seconds()))


def test_nobody_is_refused_behind_a_proxy_that_tells_no_address(house: House) -> None:
    """Where all come from a proxy's address, guesses of one must not lock out the others."""
    for _ in range(MOST + 5):
        assert house.client.get(LOOKUP, headers={"Authorization": "Bearer wrong"}).status_code == 403


def test_an_address_is_heard_again_after_a_minute() -> None:
    """The memory of wrong secrets fades."""
    clock = Clock()
    guesses = Guesses(NETWORKS, clock=clock)
    for _ in range(MOST):
        guesses.note(ONE, "acme")
    assert guesses.refuses(ONE, "", "acme")
    assert not guesses.refuses(ONE, "", "brew")
    clock.now += WINDOW.total_seconds()
    assert not guesses.refuses(ONE, "", "acme")


@pytest.mark.parametrize(
    ("peer", "forwarded", "sender"),
    [
        (ONE, "", ONE),
        (ONE, OTHER, ONE),  # made up: nobody trusts this peer
        ("127.0.0.1", "", ""),
        ("127.0.0.1", OTHER, OTHER),
        ("127.0.0.1", f"{ONE}, {OTHER}", OTHER),  # the sender can make up what stands before
        ("127.0.0.1", f"{OTHER}, 10.1.2.3", OTHER),
        ("127.0.0.1", "unknown", ""),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("", OTHER, ""),
        (f"::ffff:{ONE}", "", ONE),  # as a socket for IPv4 and IPv6 tells it
        ("::ffff:127.0.0.1", f"::ffff:{OTHER}", OTHER),
    ],
)
def test_only_trusted_proxies_tell_who_sent(peer: str, forwarded: str, sender: str) -> None:
    """The address is the last that no trusted proxy has; of IPv6, the network that one sender has to himself."""
    assert Guesses(NETWORKS).address(peer, forwarded) == sender


@given(forwarded=st.text(), peer=st.text())
def test_no_header_breaks_it(forwarded: str, peer: str) -> None:
    """Whatever stands where an address should be is no address."""
    assert isinstance(Guesses(NETWORKS).address(peer, forwarded), str)


def test_long_headers_are_not_remembered() -> None:
    """Whoever sends ever new headers of many kilobytes takes no memory with them."""
    guesses = Guesses(NETWORKS)
    tracemalloc.start()
    for i in range(200):
        assert guesses.address("127.0.0.1", f"{'x' * 50_000}{i}, {ONE}") == ONE
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


def test_no_network_need_be_trusted() -> None:
    """Without trusted proxies the address that is connected counts."""
    assert Guesses(()).address("127.0.0.1", OTHER) == "127.0.0.1"


def test_the_fast_path_hears_nobody_who_is_refused(pair: Pair) -> None:
    """A right secret from an address that guessed is refused with the slow path's bytes."""
    before = pair.counting.answers
    for customer in ("nordlys", "harbour"):
        for _ in range(MOST):
            pair.guesses.note(ONE, customer)
    asked = f"GET {LOOKUP} HTTP/1.1\r\nHost: m8crm\r\nAuthorization: Bearer {SECRET}\r\nX-Forwarded-For: {ONE}\r\n\r\n"
    assert assert_same(pair, asked.encode()).startswith(b"HTTP/1.1 429 ")
    assert pair.counting.answers == before
    assert assert_same(pair, asked.replace(ONE, OTHER).encode()).startswith(b"HTTP/1.1 200 ")
    assert pair.counting.answers == before + 1
