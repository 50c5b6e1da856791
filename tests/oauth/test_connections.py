"""A person authorises us once: with PKCE, by a link that works once, and nobody else can finish or repeat it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import select

from middleware.crm.oauth import OAuthClient
from middleware.errors import CRMRejectedError, NotConnectedError, NoTokenError
from middleware.inbox.tables import lane
from middleware.oauth.connections import Connections
from middleware.oauth.protocol import GrantEndedError, Protocol
from tests.oauth.conftest import Desk, soon
from tests.oauth.provider import CLIENT_SECRET

BACK = "https://m8crm.example/-/oauth/callback"


def connections_of(desk: Desk, key: bytes = b"key of the tests") -> Connections:
    def find(tenant_id: str, source: str) -> OAuthClient | None:
        return desk.provider.client(tenant_id, source) if source == "acme" else None

    return Connections(desk.database, desk.vault, desk.grants, Protocol(), key=key, find=find)


def allow(link: str) -> dict[str, str]:
    """Do what a browser and a person do; return what the CRM sends back."""
    answer = requests.get(link, allow_redirects=False, timeout=20)
    assert answer.headers["Location"].startswith(BACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def test_a_person_connects_a_customer(any_desk: Desk) -> None:
    """The link leads to tokens that are kept for that customer and no other."""
    connections = connections_of(any_desk)
    told = allow(connections.begin(any_desk.provider.client("other"), BACK))
    assert connections.finish(told["state"], told["code"]).tenant_id == "other"
    found = connections.grant("other", "acme")
    assert found
    assert found.access_token in any_desk.provider.access
    assert found.access_token != any_desk.grant().access_token


def test_another_machine_finishes(any_desk: Desk) -> None:
    """What one machine began any other one with the same keys can finish."""
    told = allow(connections_of(any_desk).begin(any_desk.client, BACK))
    assert connections_of(any_desk).finish(told["state"], told["code"]).tenant_id == "acme"


def test_a_link_works_once(any_desk: Desk) -> None:
    """Who comes back a second time, with a code of his own, changes nothing."""
    connections = connections_of(any_desk)
    link = connections.begin(any_desk.client, BACK)
    told, again = allow(link), allow(link)
    connections.finish(told["state"], told["code"])
    before = any_desk.grant().stamp
    with pytest.raises(NotConnectedError, match="was used"):
        connections.finish(again["state"], again["code"])
    assert any_desk.grant().stamp == before


def test_a_link_that_failed_works_no_more(desk: Desk) -> None:
    """A state is spent by a wrong code as well: nobody can try codes."""
    connections = connections_of(desk)
    told = allow(connections.begin(desk.client, BACK))
    with pytest.raises(GrantEndedError):
        connections.finish(told["state"], "guessed")
    with pytest.raises(NotConnectedError, match="was used"):
        connections.finish(told["state"], told["code"])


def test_a_link_lives_for_an_hour(desk: Desk) -> None:
    """After that it has to be asked for anew."""
    connections = connections_of(desk)
    told = allow(connections.begin(desk.client, BACK))
    desk.pass_by(minutes=61)
    with pytest.raises(NotConnectedError, match="older than an hour"):
        connections.finish(told["state"], told["code"])


@pytest.mark.parametrize("state", ["", "x", "Im5vbmNlIg.AAAA"])
def test_a_state_that_we_did_not_sign_is_refused(desk: Desk, state: str) -> None:
    """Nobody can make up a state, or change one."""
    with pytest.raises(NotConnectedError, match="not ours"):
        connections_of(desk).finish(state, "code")


def test_the_state_of_another_installation_is_refused(desk: Desk) -> None:
    """A state is signed with the installation's key."""
    told = allow(connections_of(desk, b"another key").begin(desk.client, BACK))
    with pytest.raises(NotConnectedError, match="not ours"):
        connections_of(desk).finish(told["state"], told["code"])


def test_the_code_of_another_link_is_worth_nothing(desk: Desk) -> None:
    """PKCE: who brings his own code to somebody else's link is refused by the CRM."""
    connections = connections_of(desk)
    mine, his = (allow(connections.begin(desk.client, BACK)) for _ in range(2))
    before = desk.grant().stamp
    with pytest.raises(GrantEndedError):
        connections.finish(mine["state"], his["code"])
    assert desk.grant().stamp == before


def test_the_link_has_no_secret(desk: Desk) -> None:
    """Neither the client's secret nor PKCE's verifier goes through the browser."""
    link = connections_of(desk).begin(desk.client, BACK)
    assert CLIENT_SECRET not in link
    assert "verifier" not in link


def test_connecting_ends_a_pause(desk: Desk) -> None:
    """Deliveries that waited for a person go on when he has acted."""
    with desk.database.write() as connection:
        row = {"tenant": "acme", "channel": "acme", "lease_until": 0.0, "due_at": 9e9, "failures": 3}
        connection.execute(desk.database.insert(lane).values(paused_revision="r1", **row))
    connections = connections_of(desk)
    told = allow(connections.begin(desk.client, BACK))
    connections.finish(told["state"], told["code"])
    with desk.database.read() as connection:
        found = connection.execute(select(lane)).one()
    assert (found.paused_revision, found.due_at) == (None, 0.0)


def test_an_ended_connection_is_connected_anew(desk: Desk) -> None:
    """After ``invalid_grant`` a person's authorisation gives tokens that are used at once."""
    desk.provider.end()
    desk.pass_by(hours=2)
    with pytest.raises(NotConnectedError):
        desk.get()
    connections = connections_of(desk)
    told = allow(connections.begin(desk.client, BACK))
    connections.finish(told["state"], told["code"])
    desk.pass_by(seconds=6)
    assert desk.get() in desk.provider.access


def test_disconnecting_leaves_nothing(desk: Desk) -> None:
    """The tokens are removed, the CRM is told, and no process uses them for longer than five seconds."""
    desk.get()
    refresh = desk.grant().refresh_token
    connections = connections_of(desk)
    assert connections.end("acme", "acme")
    assert desk.provider.revoked == [refresh]
    desk.pass_by(seconds=6)
    with pytest.raises(NotConnectedError, match="was never given"):
        desk.get()
    assert not connections.end("acme", "acme")


def test_a_renewal_under_way_does_not_bring_back_what_was_disconnected(desk: Desk) -> None:
    """Who disconnects while a token is being renewed is disconnected afterwards."""
    desk.provider.before = lambda: desk.grants.disconnect("acme", "acme")
    desk.pass_by(hours=2)
    with pytest.raises(NotConnectedError):
        desk.get()
    assert desk.grants.find("acme", "acme") is None


def test_a_crm_without_an_answer_connects_nobody(desk: Desk) -> None:
    """A token endpoint that refuses our client is told as that."""
    desk.provider.failures.append((401, {"error": "invalid_client"}))
    connections = connections_of(desk)
    told = allow(connections.begin(desk.client, BACK))
    with pytest.raises(CRMRejectedError, match="invalid_client"):
        connections.finish(told["state"], told["code"])


# at rest ----------------------------------------------------------------------------------------------
def canaries(desk: Desk) -> list[bytes]:
    grant = desk.grant()
    return [grant.access_token.encode(), str(grant.refresh_token).encode()]


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("inbox.db*"))


def test_the_database_holds_no_token_that_can_be_read(desk: Desk) -> None:
    """Who steals the database, or a backup, has nothing without the key file."""
    assert not any(canary in files_of(desk.folder) for canary in canaries(desk))
    assert (desk.folder / "token.keys").stat().st_mode & 0o777 == 0o600


def test_keys_are_rotated(any_desk: Desk) -> None:
    """With a new key in use, and the old one dropped, the same tokens are there; the old file opens nothing."""
    old, before = (any_desk.folder / "token.keys").read_text(), canaries(any_desk)
    any_desk.vault.add_key()
    assert any_desk.vault.count() == 2
    any_desk.vault.promote_key()
    assert connections_of(any_desk).reseal() == 1
    any_desk.vault.drop_keys()
    assert any_desk.vault.count() == 1
    assert canaries(any_desk) == before
    (any_desk.folder / "token.keys").write_text(old)
    with pytest.raises(NoTokenError, match="lacks the key"):
        any_desk.process().get(any_desk.client, soon())


def test_a_machine_without_the_key_ends_no_connection(desk: Desk) -> None:
    """Tokens that cannot be decrypted are left as they are, until the machine has the key."""
    kept = (desk.folder / "token.keys").read_text()
    (desk.folder / "token.keys").unlink()
    tokens = desk.process()
    desk.pass_by(hours=2)
    with pytest.raises(NoTokenError, match="lacks the key"):
        tokens.get(desk.client, soon())
    (desk.folder / "token.keys").write_text(kept)
    assert tokens.get(desk.client, soon()).reveal() in desk.provider.access


@pytest.mark.parametrize("content", ["", "nonsense\n", "ä\n"])
def test_a_broken_key_file_is_told_by_its_name(desk: Desk, content: str) -> None:
    """A key file that a person has broken is named, and its content is not."""
    (desk.folder / "token.keys").write_text(content, encoding="utf-8")
    with pytest.raises(NoTokenError, match=r"token\.keys") as caught:
        desk.process().get(desk.client, soon())
    assert "nonsense" not in str(caught.value)
