"""Accounts, sessions, links and the audit log, on both engines, by a clock that is held."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Semaphore, Thread

import pytest

from middleware.console import users
from middleware.console.access import MOST_TOGETHER, WINDOW, Access, build_access
from middleware.console.audit import KEPT_FOR
from middleware.console.roles import Role, Viewer
from middleware.console.sessions import IDLE, LONGEST
from middleware.console.users import SHORTEST
from middleware.errors import ConfigError, CrowdError
from middleware.inbox.store import Inbox

PASSWORD = "a long enough password"
HERE = "203.0.113.7"


class Clock:
    """The moment that it is, until a test says otherwise."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, span: timedelta) -> None:
        self.now += span


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(database_url: str, clock: Clock) -> Iterator[Access]:
    inbox = Inbox(database_url, key=b"k", now=clock)
    access = build_access(inbox, b"k")
    access.users.add("ada", Role.HOSTER, PASSWORD)
    access.users.add("nora", Role.CUSTOMER, PASSWORD, "nordlys")
    yield access
    inbox.close()


ADA = Viewer(name="ada", role=Role.HOSTER)


def test_a_password_is_right_or_wrong(access: Access) -> None:
    """Who has the password comes in, with his role and customer; nobody else does."""
    assert access.users.verify("ada", PASSWORD) == ADA
    assert access.users.verify("nora", PASSWORD) == Viewer(name="nora", role=Role.CUSTOMER, customer="nordlys")
    assert access.users.verify("ada", PASSWORD + " ") is None
    assert access.users.verify("ada", "") is None
    assert access.users.verify("bob", PASSWORD) is None
    assert access.users.verify("bob", "") is None


def test_a_crowd_of_sign_ins_takes_no_threads(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """While some passwords are compared whoever comes on top is refused at once, so that events have threads."""
    may_end, refused, answers = Event(), Semaphore(0), []

    class Slow:
        def verify(self, *_: object) -> bool:
            return may_end.wait(30)

    def sign_in() -> None:
        try:
            answers.append(access.users.verify("ada", PASSWORD))
        except CrowdError:
            refused.release()

    monkeypatch.setattr(users, "_HASHER", Slow())
    threads = [Thread(target=sign_in) for _ in range(users.CROWD + 2)]
    for thread in threads:
        thread.start()
    assert [refused.acquire(timeout=30) for _ in range(2)] == [True, True]
    may_end.set()
    for thread in threads:
        thread.join()
    assert answers == [ADA] * users.CROWD
    assert access.users.verify("ada", PASSWORD) == ADA, "the crowd is gone"


def test_a_password_is_kept_as_argon2_alone(tmp_path: Path, clock: Clock) -> None:
    """The database holds the hash, and neither password nor the id of a session."""
    inbox = Inbox(f"sqlite:///{tmp_path / 'x.db'}", key=b"k", now=clock)
    access = build_access(inbox, b"k")
    access.users.add("ada", Role.HOSTER, PASSWORD)
    token = access.sessions.begin(ADA, HERE)
    inbox.close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "$argon2id$" in dump
    assert PASSWORD not in dump
    assert token not in dump


@pytest.mark.parametrize(
    ("name", "role", "customer", "password"),
    [
        ("ada", Role.CARE, None, PASSWORD),
        ("b b", Role.CARE, None, PASSWORD),
        ("shell:x", Role.CARE, None, PASSWORD),
        ("", Role.CARE, None, PASSWORD),
        ("bob", Role.CUSTOMER, None, PASSWORD),
        ("bob", Role.CARE, "nordlys", PASSWORD),
        ("bob", Role.CARE, None, "x" * (SHORTEST - 1)),
        ("bob", Role.CARE, None, "x" * 2000),
    ],
)
def test_an_account_that_cannot_be_is_refused(
    access: Access, name: str, role: Role, customer: str | None, password: str
) -> None:
    """A name that is taken or odd, a role without its customer, a short password: none is made."""
    with pytest.raises(ConfigError):
        access.users.add(name, role, password, customer)
    assert [user.name for user in access.users.list_users()] == ["ada", "nora"]


def test_a_session_ends_when_nobody_uses_it(access: Access, clock: Clock) -> None:
    """An hour without a page ends it; a page begins the hour anew."""
    token = access.sessions.begin(ADA, HERE)
    for _ in range(3):
        clock.pass_by(IDLE - timedelta(seconds=1))
        assert access.sessions.find(token) == ADA
    clock.pass_by(IDLE)
    assert access.sessions.find(token) is None
    assert access.sessions.list_sessions() == []


def test_a_session_ends_however_much_it_is_used(access: Access, clock: Clock) -> None:
    """After twelve hours everybody signs in again."""
    token = access.sessions.begin(ADA, HERE)
    used = timedelta()
    while used + timedelta(minutes=50) < LONGEST:
        clock.pass_by(timedelta(minutes=50))
        used += timedelta(minutes=50)
        assert access.sessions.find(token) == ADA
    clock.pass_by(LONGEST - used)
    assert access.sessions.find(token) is None


@pytest.mark.parametrize("token", ["", "x", "é\ud800", "a" * 5000])
def test_a_made_up_session_is_none(access: Access, token: str) -> None:
    """What we have not given out is nobody's."""
    access.sessions.begin(ADA, HERE)
    assert access.sessions.find(token) is None


def test_a_new_password_ends_the_sessions_of_that_account(access: Access) -> None:
    """Whoever knew the old password is out; others are not."""
    mine, others = access.sessions.begin(ADA, HERE), access.sessions.begin(Viewer(name="nora", role=Role.CARE), HERE)
    access.users.change_password("ada", "another password")
    assert access.sessions.find(mine) is None
    assert access.sessions.find(others)
    assert access.users.verify("ada", PASSWORD) is None
    assert access.users.verify("ada", "another password") == ADA


def test_who_is_removed_is_out(access: Access) -> None:
    """A removed account has no session, and cannot be removed twice."""
    token = access.sessions.begin(ADA, HERE)
    access.users.remove("ada")
    assert access.sessions.find(token) is None
    with pytest.raises(ConfigError):
        access.users.remove("ada")
    with pytest.raises(ConfigError):
        access.users.change_password("ada", PASSWORD)


def test_one_session_is_ended_by_its_id_and_all_by_name(access: Access) -> None:
    """A hoster ends one session, or all that an account has."""
    tokens = [access.sessions.begin(ADA, HERE) for _ in range(3)]
    assert access.sessions.end_of(access.sessions.list_sessions()[0].id) == 1
    assert sum(access.sessions.find(token) is not None for token in tokens) == 2
    assert access.sessions.end_of("ada") == 2
    assert access.sessions.end_of("ada") == 0


def test_a_link_dies(access: Access, clock: Clock) -> None:
    """A link is good for its time, and so is every session that came by it."""
    link, text = access.links.make("nordlys", "ada", timedelta(minutes=30))
    assert access.links.read(text) == link
    assert link.viewer.is_reader
    token = access.sessions.begin(link.viewer, HERE, link_id=link.id, until=link.expires_at)
    assert access.sessions.find(token) == link.viewer
    clock.pass_by(timedelta(minutes=30))
    assert access.links.read(text) is None
    assert access.sessions.find(token) is None


def test_a_link_is_revoked(access: Access) -> None:
    """A revoked link and its sessions are dead, and no other is."""
    (link, text), (other, other_text) = access.links.make("nordlys", "ada"), access.links.make("nordlys", "ada")
    tokens = [access.sessions.begin(one.viewer, HERE, link_id=one.id) for one in (link, other)]
    access.links.revoke(link.id)
    assert access.links.read(text) is None
    assert access.links.read(other_text) == other
    assert [access.sessions.find(token) is not None for token in tokens] == [False, True]
    with pytest.raises(ConfigError):
        access.links.revoke("none")


def test_guesses_are_counted_by_address_and_by_name(
    access: Access, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address is refused for all names, one name from all addresses, and both only for a quarter of an hour."""
    monkeypatch.setattr("middleware.console.access.MOST_OF_ADDRESS", 11)  # a password takes its time
    monkeypatch.setattr("middleware.console.access.MOST_OF_NAME", 12)
    for number in range(11):
        access.sign_in(f"user{number}", "wrong", HERE)
    assert access.is_refused("ada", HERE)
    assert not access.is_refused("ada", "203.0.113.8")
    for number in range(12):
        access.sign_in("ada", "wrong", f"2001:db8:{number:x}::/64")
    assert access.is_refused("ada", "203.0.113.8")
    assert not access.is_refused("nora", "203.0.113.8")
    clock.pass_by(WINDOW)
    assert not access.is_refused("ada", HERE)


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_a_limit_does_not_tell_which_accounts_there_are(access: Access, name: str) -> None:
    """A name with an account and one without are refused after the same number of guesses, each for itself."""
    for _ in range(MOST_TOGETHER):
        assert not access.is_refused(name, HERE)
        access.sign_in(name, "wrong", HERE)
    assert access.is_refused(name, HERE)
    assert not access.is_refused("nora", HERE)
    assert not access.is_refused("somebody", HERE)


def test_the_audit_log_is_kept_for_its_time(access: Access, clock: Clock) -> None:
    """What was done is listed, newest first, of one customer or of all, and goes after its time."""
    access.audit.note("ada", "one", "nordlys", "x", address=HERE)
    clock.pass_by(KEPT_FOR)
    access.audit.note("ada", "two")
    access.audit.note("nora", "three", "nordlys")
    assert [entry.action for entry in access.audit.entries()] == ["three", "two", "one"]
    clock.pass_by(timedelta(seconds=1))
    access.audit.note("ada", "four")
    assert [entry.action for entry in access.audit.entries()] == ["four", "three", "two"]
    assert [(entry.who, entry.action) for entry in access.audit.entries("nordlys")] == [("nora", "three")]
