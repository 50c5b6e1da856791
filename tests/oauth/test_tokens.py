"""Tokens are renewed ahead of their end, once, and only ``invalid_grant`` is a matter for a person."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest

from middleware.crm.oauth import OAuthClient, TokenAuth
from middleware.crm.session import CRMSession
from middleware.crm.settings import Secret
from middleware.errors import CRMAuthError, CRMUnavailableError, NotConnectedError, NoTokenError, StorageError
from middleware.inbox.database import open_database
from middleware.inbox.postgresql import PostgreSQL
from middleware.lookup.trace import Trace
from middleware.model.deadline import Deadline
from middleware.oauth.grants import Grant, Grants
from middleware.oauth.protocol import Granted
from tests.conftest import SERVER_CLOCK
from tests.oauth.conftest import Desk, soon
from tests.oauth.provider import Provider


def run_together(count: int, work: Any) -> list[Any]:
    """Return what ``count`` threads got that began at the same time; exceptions as values."""
    results: list[Any] = []
    barrier = Barrier(count)

    def one(place: int) -> None:
        barrier.wait()
        try:
            results.append(work(place))
        except Exception as error:
            results.append(error)

    threads = [Thread(target=one, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def land(desk: Desk) -> None:
    """Wait for the renewals that nobody waits for."""
    for flight in list(desk.tokens._flights.values()):
        flight.result(20)


def test_a_token_is_used_as_long_as_it_is_good(desk: Desk) -> None:
    """A token that is good for long is not renewed: not at the start, not with every call."""
    first = desk.get()
    desk.pass_by(minutes=40)
    assert desk.get() == first
    land(desk)
    assert desk.provider.renewals == 0


def test_a_short_life_is_lived_for_the_most_part(desk: Desk) -> None:
    """A token that lives for a minute is renewed in its last seconds, and not at every request."""
    desk.provider.lifetime = 60
    desk.connect()
    first = desk.get()
    desk.pass_by(seconds=47)
    assert desk.get() == first
    land(desk)
    assert desk.provider.renewals == 0


def test_a_token_is_renewed_ahead_of_its_end_and_nobody_waits(desk: Desk) -> None:
    """In the last part of its life a token still serves at once, while the next one is fetched."""
    first, asked, let_go = desk.get(), Event(), Event()

    def hold() -> bool:
        asked.set()
        return let_go.wait(20)

    desk.provider.before = hold
    desk.pass_by(minutes=56)
    assert desk.get() == first  # the provider has not answered yet
    assert asked.wait(20)
    let_go.set()
    desk.pass_by(minutes=3, seconds=50)  # still before its end: a lookup joins what is under way, or has it
    land(desk)
    assert desk.get() != first
    assert desk.provider.renewals == 1


def test_fifty_threads_renew_once(any_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty calls at once with a token that has run out cost one renewal and one lease; all get the new token."""
    claim, claims = Grants.claim, []

    def counted(self: Grants, *arguments: Any, **kwargs: Any) -> bool:
        claims.append(arguments)
        return claim(self, *arguments, **kwargs)

    monkeypatch.setattr(Grants, "claim", counted)
    first = any_desk.get()
    any_desk.pass_by(hours=2)
    got = run_together(50, lambda _: any_desk.get())
    assert len(set(got)) == 1
    assert got[0] != first
    assert got[0] in any_desk.provider.access
    assert any_desk.provider.renewals == len(claims) == 1


def test_processes_take_turns_by_the_row(any_desk: Desk) -> None:
    """Eight that share nothing but the database renew once, and all get the new token."""
    any_desk.pass_by(hours=2)
    processes = [any_desk.process() for _ in range(8)]
    got = run_together(8, lambda place: processes[place].get(any_desk.client, soon()).reveal())
    assert len(set(got)) == 1
    assert any_desk.provider.renewals == 1


class Lockless(Grants):
    """A store whose row is no lock."""

    def claim(self, client: OAuthClient, grant: Grant, *, was_refused: bool) -> bool:
        return True


def test_without_the_lock_the_connection_is_lost(desk: Desk) -> None:
    """The control: where nobody takes turns, a rotated token is used twice and the provider ends the connection."""
    desk.pass_by(hours=2)
    processes = [desk.process(desk.new_grants(Lockless)) for _ in range(4)]
    arrived = Barrier(4)
    desk.provider.before = lambda: arrived.wait(20) >= 0
    run_together(4, lambda place: processes[place].get(desk.client, soon()).reveal())
    assert desk.provider.renewals == 4
    assert not desk.provider.refresh


def test_a_refresher_that_dies_frees_the_others(any_desk: Desk) -> None:
    """When who renews is gone, its lease ends, and the next one renews."""
    any_desk.pass_by(hours=2)
    dead = any_desk.new_grants()
    assert dead.claim(any_desk.client, any_desk.grant(), was_refused=False)

    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        any_desk.pass_by(seconds=5)

    alive = any_desk.process(wait=wait)
    assert alive.get(any_desk.client, soon()).reveal() in any_desk.provider.access
    assert len(waited) == 6  # 30 s of lease
    assert any_desk.provider.renewals == 1


def test_a_clock_that_was_ahead_holds_up_nobody(desk: Desk) -> None:
    """A lease that ends in the far future was written by a wrong clock, and is no lease."""
    desk.pass_by(hours=12)
    assert desk.new_grants().claim(desk.client, desk.grant(), was_refused=False)
    desk.pass_by(hours=-6)
    assert desk.get() in desk.provider.access


def test_whose_clock_is_ahead_takes_no_lease(
    own_postgres: str, tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server leases go by its own clock: a machine that is an hour ahead waits as the others do."""
    monkeypatch.setattr(PostgreSQL, "lease_clock", SERVER_CLOCK)
    database = open_database(own_postgres)
    desk = Desk(database, tmp_path, provider)
    desk.connect()
    assert desk.grants.claim(desk.client, desk.grant(), was_refused=False)
    desk.pass_by(hours=1)
    assert desk.grant().is_leased
    assert not desk.new_grants().claim(desk.client, desk.grant(), was_refused=False)
    database.close()


@pytest.mark.parametrize(
    "failure",
    [
        (500, {}),
        (503, {"error": "temporarily_unavailable"}),
        (429, {"error": "slow_down"}),
        (401, {"error": "invalid_client"}),
        (200, {"error": "server_error"}),
        (200, {"token": "misspelt"}),
    ],
    ids=str,
)
def test_a_token_endpoint_that_fails_is_asked_again(desk: Desk, failure: tuple[int, dict[str, Any]]) -> None:
    """Anything but ``invalid_grant`` is tried again a little later, and nobody has to log in."""
    desk.provider.failures.append(failure)
    desk.pass_by(hours=2)
    for _ in range(2):  # the second is spared
        with pytest.raises(NoTokenError) as caught:
            desk.get()
        assert caught.value.retry_after == timedelta(seconds=5)
    assert desk.provider.renewals == 1
    assert desk.grant().is_connected
    desk.pass_by(seconds=5)
    assert desk.get() in desk.provider.access
    assert desk.grant().failures == 0


def test_a_token_endpoint_that_is_gone_is_asked_again(desk: Desk) -> None:
    """A reset connection is tried again, ever less often."""
    desk.provider.before = lambda: False
    desk.pass_by(hours=2)
    waits = []
    for _ in range(8):
        with pytest.raises(NoTokenError) as caught:
            desk.get()
        assert caught.value.retry_after
        waits.append(caught.value.retry_after.total_seconds())
        desk.moment += caught.value.retry_after
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    assert desk.grant().is_connected


def test_an_ended_connection_is_told_and_asked_no_more(desk: Desk) -> None:
    """``invalid_grant`` needs a person: the error says what to do, and the endpoint is left alone."""
    desk.provider.end()
    desk.pass_by(hours=2)
    for _ in range(3):
        with pytest.raises(NotConnectedError, match="m8crm tenant connect acme acme"):
            desk.get()
        desk.pass_by(minutes=10)
    assert desk.provider.renewals == 1
    assert not desk.grant().is_connected


def test_whoever_is_too_late_ends_nothing(desk: Desk) -> None:
    """A process that stood still past its lease hears ``invalid_grant``, and takes what another one has renewed."""
    desk.pass_by(hours=2)
    other = desk.process()

    def meanwhile() -> bool:
        desk.provider.before = None
        desk.pass_by(seconds=31)
        desk.provider.lifetime = 7200
        other.get(desk.client, soon())
        desk.provider.spent.clear()  # this provider forgives a second use; the answer is the same
        return True

    desk.provider.before = meanwhile
    assert desk.get() in desk.provider.access
    assert desk.grant().is_connected
    assert desk.provider.renewals == 2


def test_whoever_is_too_late_leaves_the_next_one_his_lease(desk: Desk) -> None:
    """A process that stood still past its lease ends nothing while another one is renewing."""
    desk.pass_by(hours=2)
    other = desk.new_grants()

    def meanwhile() -> bool:
        desk.pass_by(seconds=31)
        assert other.claim(desk.client, desk.grant(), was_refused=False)
        desk.provider.refresh.clear()  # the other one's request was quicker
        return True

    def finish(_: float) -> None:
        told = desk.provider.grant()
        granted = Granted(access_token=told["access_token"], refresh_token=told["refresh_token"], lifetime=3600)
        assert desk.grant().is_connected
        assert other.renewed(desk.client, desk.grant(), granted)

    desk.provider.before = meanwhile
    tokens = desk.process(wait=finish)
    assert tokens.get(desk.client, soon()).reveal() in desk.provider.access
    assert desk.provider.renewals == 1


def test_a_renewal_does_not_replace_what_a_person_gave_meanwhile(desk: Desk) -> None:
    """Who connects a customer anew while a token is being renewed has his tokens kept."""
    given: list[str] = []

    def connect() -> None:
        desk.connect()
        given.append(desk.grant().access_token)

    desk.provider.before = connect
    desk.pass_by(hours=2)
    assert [desk.get()] == given
    assert desk.grant().access_token == given[0]


def test_a_token_that_does_not_rotate_is_kept(desk: Desk) -> None:
    """A provider that sends no new refresh token lets us use the old one again."""
    desk.provider.rotates = False
    got = []
    for _ in range(3):
        desk.pass_by(hours=2)
        got.append(desk.get())
    assert len(set(got)) == 3
    assert desk.provider.renewals == 3


@pytest.mark.parametrize("told", [None, "soon", -1, 0, 1e30, [3600]], ids=repr)
def test_a_lifetime_that_cannot_be_read_costs_no_token(desk: Desk, told: Any) -> None:
    """What an answer says wrongly of its lifetime does not lose the token that came with it."""
    desk.provider.lifetime = told
    desk.pass_by(hours=2)
    renewed = desk.get()
    desk.pass_by(days=2)
    assert desk.get() == renewed
    assert desk.provider.renewals == 1


def test_a_new_token_is_stored_before_it_is_used(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the database fails just then, the new token is kept until it is stored; meanwhile nobody gets it."""
    failing, seen, healed = Event(), Event(), Event()
    store = Grants.renewed

    def renewed(self: Grants, client: OAuthClient, grant: Grant, granted: Granted) -> Grant | None:
        if failing.is_set():
            seen.set()
            raise StorageError("the database failed")
        return store(self, client, grant, granted)

    monkeypatch.setattr(Grants, "renewed", renewed)

    def until_healed(_: float) -> None:
        healed.wait(20)

    tokens = desk.process(wait=until_healed)
    failing.set()
    desk.pass_by(hours=2)
    with pytest.raises(NoTokenError):
        tokens.get(desk.client, Deadline.after(timedelta(seconds=0.2)))
    assert seen.wait(20)
    before = desk.grant().stamp
    failing.clear()
    healed.set()
    assert tokens.get(desk.client, soon()).reveal() in desk.provider.access
    assert desk.grant().stamp != before
    assert desk.provider.renewals == 1


def test_a_good_token_serves_while_the_database_is_down(desk: Desk) -> None:
    """Lookups go on without a database as long as the token they know is good, and then wait for it."""
    known = desk.get()
    desk.database.write = desk.database.read = _down  # type: ignore[method-assign, assignment]
    desk.pass_by(minutes=10)
    assert desk.get() == known
    desk.pass_by(hours=1)
    with pytest.raises(NoTokenError):
        desk.get()


def _down(*_: object, **__: object) -> None:
    raise StorageError("the database does not answer")


def test_a_lookup_that_cannot_wait_leaves_the_renewal_running(desk: Desk) -> None:
    """A caller whose time is over goes without a token; the renewal ends well for the next one."""
    let_go = Event()
    desk.provider.before = lambda: let_go.wait(20)
    desk.pass_by(hours=2)
    with pytest.raises(NoTokenError):
        desk.tokens.get(desk.client, Deadline.after(timedelta(seconds=0.05)))
    let_go.set()
    assert desk.get() in desk.provider.access
    assert desk.provider.renewals == 1


def session_of(desk: Desk) -> CRMSession:
    return CRMSession(desk.provider.url, soon(), auth=TokenAuth(desk.tokens, desk.client, soon()))


def test_a_401_renews_once_and_repeats_once(desk: Desk) -> None:
    """A token that ended before its time is renewed, and the request sent once more."""
    desk.get()
    desk.provider.expire()
    assert session_of(desk).get("api/me").json() == {"is_known": True}
    assert (desk.provider.requests, desk.provider.renewals) == (2, 1)


def test_a_renewed_token_is_a_step_between_the_two_requests(desk: Desk) -> None:
    """A token that the CRM refused, its renewal and the request that followed are seen; no token is."""
    old, trace = desk.get(), Trace(clock=lambda: 0.0)  # nothing takes long, so that the token was at hand
    desk.provider.expire()
    session_of(desk).watched(trace.span).get("api/me")
    told = [(span.name, span.note) for span in trace.spans]
    renewal = ("OAuth2 token refused", "a new one")
    assert told == [("GET /api/me", "401, CRMAuthError"), renewal, ("GET /api/me", "200")]
    text = str(trace.document())
    assert old not in text
    assert desk.get() not in text


def test_waiting_for_a_token_is_a_step(desk: Desk) -> None:
    """A request that must wait until its token is renewed says so; one that has it at hand says nothing of it."""
    let_go, trace = Event(), Trace()
    desk.provider.before = lambda: let_go.wait(20)
    desk.pass_by(hours=2)
    impatient = Deadline.after(timedelta(seconds=0.05))
    session = CRMSession(desk.provider.url, impatient, auth=TokenAuth(desk.tokens, desk.client, impatient))
    with pytest.raises(NoTokenError):
        session.watched(trace.span).get("api/me")
    assert [(span.name, span.note) for span in trace.spans] == [("OAuth2 token", "NoTokenError")]
    let_go.set()


def test_a_401_that_stays_does_not_renew_with_every_request(desk: Desk) -> None:
    """A CRM that answers 401 for another reason costs one renewal in five minutes, and the error is told."""
    issue = desk.provider.grant

    def useless(**kwargs: Any) -> dict[str, Any]:
        told = issue(**kwargs)
        desk.provider.access.clear()
        return told

    desk.provider.grant = useless  # type: ignore[method-assign]
    desk.provider.expire()
    for _ in range(5):
        with pytest.raises(CRMAuthError):
            session_of(desk).get("api/me")
        desk.pass_by(seconds=50)
    assert desk.provider.renewals == 1
    assert desk.provider.requests == 6


def test_fifty_requests_that_hear_401_renew_once(any_desk: Desk) -> None:
    """Fifty requests whose token was taken away cost one renewal, and each is repeated once."""
    any_desk.get()
    any_desk.provider.expire()
    got = run_together(50, lambda _: session_of(any_desk).get("api/me").status_code)
    assert got == [200] * 50
    assert any_desk.provider.renewals == 1


def test_a_file_is_not_sent_twice(desk: Desk) -> None:
    """A request whose body was read cannot be repeated: the caller hears that it may try again."""
    desk.get()
    desk.provider.expire()
    with pytest.raises(CRMUnavailableError):
        session_of(desk).post("api/files", data=io.BytesIO(b"wave"))
    assert desk.provider.requests == 1
    assert session_of(desk).get("api/me").ok


def test_no_secret_is_in_a_message(desk: Desk) -> None:
    """Neither a token nor the client's secret is in what is raised when the endpoint refuses."""
    desk.provider.failures.append((400, {"error": "invalid_scope", "error_description": desk.grant().refresh_token}))
    desk.pass_by(hours=2)
    with pytest.raises(NoTokenError) as caught:
        desk.get()
    told = repr(caught.value) + repr(desk.client) + str(caught.value.vendor_text)
    assert "s3cret" not in told
    assert str(desk.grant().refresh_token) not in told
    assert desk.grant().reason == "CRMRejectedError"


def test_tokens_of_another_client_are_not_used(desk: Desk) -> None:
    """When the file names another client, its customer must be connected anew: a token is its client's alone."""
    other = Provider(url="http://127.0.0.1:9").client()
    with pytest.raises(NotConnectedError, match="another client"):
        desk.tokens.get(other, soon())


def test_the_client_may_stand_in_the_body(desk: Desk) -> None:
    """``client_secret_post`` sends id and secret as fields."""
    desk.provider.client_auth = "client_secret_post"
    desk.pass_by(hours=2)
    assert desk.get() in desk.provider.access
    assert desk.tokens.renew(desk.client, Secret("an older one"), soon())
