"""The CRM stub counts what it is asked, and the gauntlet's rules fail those who do what they forbid."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from benchmarks.load import at_once, get, post
from benchmarks.rows import gauntlet
from benchmarks.rows.gauntlet import Outcome, Subject, identical, twice, unknown
from benchmarks.servers import Stub, run_stub

NUMBER = "+46701740605"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with run_stub(core=None) as stub:
        yield stub


@pytest.fixture
def naive(stub: Stub) -> Subject:
    """Somebody who hands every question on: here the CRM itself."""
    return Subject(
        name="naive",
        port=stub.port,
        crm="acme",
        stub=stub,
        ask=lambda number: get(f"/acme/contacts?number={quote(number)}", expect=number.encode()),
        log=lambda number: post("/acme/calls", {"key": number}),
    )


def test_the_stub_finds_who_is_asked_for_and_counts(stub: Stub, naive: Subject) -> None:
    """The contact has the number that was asked for; every search is counted, and no other CRM's."""
    assert [answer.is_right for answer in naive.look_up(NUMBER, times=3)] == [True] * 3
    assert (stub.seen("acme")["searches"], stub.seen("other")["searches"]) == (3, 0)


@pytest.mark.parametrize(("behaviour", "status"), [({"status": 503}, 503), ({"empty": True}, 200)])
def test_the_stub_does_as_it_is_told(naive: Subject, behaviour: dict[str, object], status: int) -> None:
    """A CRM that is down, or that knows nobody, gives no contact."""
    naive.tell(**behaviour)
    answer = naive.look_up(NUMBER)[0]
    assert (answer.status, answer.is_right) == (status, False)


def test_a_call_that_is_refused_is_not_written(stub: Stub, naive: Subject) -> None:
    """While the CRM answers 503 it writes nothing."""
    naive.tell(status=503)
    at_once(stub.port, [naive.log("a")])
    naive.tell()
    at_once(stub.port, [naive.log("b")])
    assert stub.seen("acme")["calls"] == {"b": 1}


def test_who_hands_every_question_on_fails_the_gauntlet(naive: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules are not kept by one who has no single flight, no memory of misses and no key against doubles."""
    monkeypatch.setattr(gauntlet, "SECOND_RECORD", 0)
    assert identical(naive) == Outcome(told="4 / 4", is_kept=False)
    assert unknown(naive).is_kept is False
    assert twice(naive) == Outcome(told="2 records", is_kept=False)
