"""The whole house with a customer who is reached by OAuth2: connected by commands or a link, told when it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import select, update

from middleware.app import create_app
from middleware.cli import main
from middleware.errors import ConfigError
from middleware.inbox.store import Inbox
from middleware.inbox.tables import delivery, lane
from middleware.monitoring.alarms import read_condition
from middleware.monitoring.condition import condition_of
from middleware.monitoring.exposition import expose, see
from middleware.oauth.connections import Connections
from middleware.oauth.tables import oauth_token
from middleware.parts import Parts, build_worker
from middleware.settings import ROOT, load_settings
from middleware.tenants import config
from tests.cli.conftest import told
from tests.conftest import call_log
from tests.oauth.acme import AcmeAdapter, add_customer
from tests.oauth.provider import Provider
from tests.web.sending import log_anew


class Town:
    """An application with the customer."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder, self.provider = folder, provider
        self.secret = add_customer(folder, provider.url)
        self.app = create_app(load_settings(folder))
        self.client: FlaskClient = self.app.test_client()
        self.bearer = {"Authorization": f"Bearer {self.secret}"}

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.extensions["m8crm"]
        return parts

    @property
    def inbox(self) -> Inbox:
        return self.parts.inbox

    def run(self, *arguments: str, **kwargs: Any) -> Result:
        return CliRunner().invoke(main, ["--data", str(self.folder), *arguments], **kwargs)

    def link(self) -> str:
        return str(told(self.run("tenant", "connect", "nova", "acme", "--link", "--json"))["link"])

    def connect(self) -> None:
        assert self.client.get(allowed(self.link())).status_code == 200

    def lookup(self, number: str) -> int:
        return self.client.get("/nova/lookup", query_string={"fromNumber": number}, headers=self.bearer).status_code


def allowed(link: str) -> str:
    """Do what a person and a browser do; return the address that the CRM sends them to."""
    return requests.get(link, allow_redirects=False, timeout=20).headers["Location"]


@pytest.fixture
def town(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setattr(config, "load_adapters", lambda: {"acme": AcmeAdapter})
    monkeypatch.setattr("middleware.logs.configure_logs", lambda *_: None)
    town = Town(tmp_path / "town", provider)
    yield town
    town.parts.close()


def test_a_link_connects_and_lookups_are_answered(town: Town) -> None:
    """Before the link was opened a lookup fails; afterwards it is signed with the tokens."""
    assert town.lookup("+46701740605") >= 500
    assert town.provider.requests == 0
    town.connect()
    assert town.lookup("+46701740606") == 200
    assert town.provider.requests == 1


def test_the_callback_shows_nothing_of_the_code(
    town: Town, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that it worked; the address, which holds the code, is neither cached, referred nor logged."""
    address = allowed(town.link())
    log_anew(monkeypatch)
    answer = town.client.get(address)
    logged = "".join(capfd.readouterr())
    assert "/-/oauth/callback" in logged
    assert not any(secret in logged for secret in (*parse_qs(urlsplit(address).query)["code"], *town.provider.access))
    assert b"Connected" in answer.data
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("?error=access_denied&state=x", 400), ("?code=x&state=x", 403), ("?code=%3Cb%3E&state=%3Cb%3E", 403)],
)
def test_a_callback_that_nobody_began_connects_nobody(town: Town, query: str, status: int) -> None:
    """Whoever finds the address can do nothing with it."""
    answer = town.client.get(f"/-/oauth/callback{query}")
    assert answer.status_code == status
    assert b"<b>" not in answer.data
    assert town.provider.redeemed == 0


def test_a_crm_that_gives_no_tokens_is_told_on_the_page(town: Town) -> None:
    """The person hears that it did not work, without the CRM's words."""
    town.provider.failures.append((503, {"error": "secret-detail"}))
    answer = town.client.get(allowed(town.link()))
    assert answer.status_code == 502
    assert b"secret-detail" not in answer.data


def test_without_the_extra_everything_else_runs(tmp_path: Path) -> None:
    """Who has no CRM with OAuth2 need not install what it needs."""
    lines = [
        "import sys",
        "sys.modules['authlib'] = sys.modules['cryptography'] = None",
        "from pathlib import Path",
        "from middleware.app import create_app",
        "from middleware.settings import load_settings",
        "client = create_app(load_settings(Path(sys.argv[1]))).test_client()",
        "assert client.get('/-/ready').status_code == 200",
        "assert client.get('/-/oauth/callback?code=x&state=y').status_code == 400",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines), tmp_path], check=True, cwd=ROOT, capture_output=True)


def test_show_tells_how_it_stands(town: Town) -> None:
    """``tenant show`` has the state and its moments, and no token."""
    (before,) = told(town.run("tenant", "show", "nova", "--json"))["oauth2"]
    assert before == {"crm": "acme", "state": "not connected"}
    town.connect()
    (after,) = told(town.run("tenant", "show", "nova", "--json"))["oauth2"]
    assert after["state"] == "connected"
    assert datetime.fromisoformat(after["expires_at"]) > datetime.now(UTC)
    assert not any(token in str(after) for token in town.provider.access | town.provider.refresh)
    assert "connected by OAuth2" in town.run("tenant", "show", "nova").output


def test_connect_with_a_browser_on_the_same_machine(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command listens on the loopback until the browser comes back, and tells how it went."""
    begin = Connections.begin

    def begun(self: Any, client: Any, redirect_uri: str) -> str:
        link = begin(self, client, redirect_uri)

        def browse() -> None:
            address = allowed(link)
            assert requests.get(address.replace("/callback", "/favicon.ico"), timeout=20).status_code == 404
            requests.get(address, timeout=20)

        threading.Thread(target=browse, daemon=True).start()
        return link

    monkeypatch.setattr(Connections, "begin", begun)
    result = town.run("tenant", "connect", "nova", "acme", "--port", "0", "--json")
    assert told(result) == {"customer": "nova", "crm": "acme", "connected": True}


def test_connect_by_pasting(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no browser reaches the machine, the address that it ends at is pasted."""
    monkeypatch.setattr("click.prompt", lambda *_, **__: allowed(links[-1]))
    links: list[str] = []
    begin = Connections.begin

    def begun(self: Any, client: Any, redirect_uri: str) -> str:
        links.append(begin(self, client, redirect_uri))
        return links[-1]

    monkeypatch.setattr(Connections, "begin", begun)
    result = town.run("tenant", "connect", "nova", "acme", "--paste", "--json")
    assert told(result)["connected"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("nobody", "acme"), "no such customer"), (("nova", "hubspot"), "these can be connected: acme")],
)
def test_connect_names_what_can_be_connected(town: Town, arguments: tuple[str, str], words: str) -> None:
    """A customer or CRM that is not there is told in words."""
    result = town.run("tenant", "connect", *arguments, "--link")
    assert isinstance(result.exception, ConfigError) or words in result.output
    assert words in result.output + str(result.exception)


def test_disconnect_works_without_the_file(town: Town) -> None:
    """Tokens of a customer whose file is gone can be removed; a second time there is nothing."""
    town.connect()
    (town.folder / "customers" / "nova.toml").unlink()
    assert told(town.run("tenant", "disconnect", "nova", "acme", "--json"))["was_connected"]
    again = town.run("tenant", "disconnect", "nova", "acme", "--json")
    assert again.exit_code == 1
    assert not told(again)["was_connected"]


def test_keys_are_rotated_by_a_command(town: Town) -> None:
    """A new key takes over while the server runs, and the old one goes when it is no longer needed."""
    town.connect()
    assert told(town.run("tokens", "rotate", "--json"))["keys"] == 2
    assert told(town.run("tokens", "rotate", "--step", "drop", "--json")) == {
        "file": str(town.folder / "token.keys"),
        "keys": 1,
        "tokens": 1,
    }
    assert town.lookup("+46701740606") == 200


def test_rotation_step_by_step(town: Town) -> None:
    """On several machines the new key is there before it is used."""
    town.connect()
    file = town.folder / "token.keys"
    old = file.read_text().split()
    town.run("tokens", "rotate", "--step", "prepare")
    assert file.read_text().split()[0] == old[0]
    town.run("tokens", "rotate", "--step", "use")
    new, kept = file.read_text().split()
    assert kept == old[0] != new
    assert town.lookup("+46701740606") == 200


def test_check_live_uses_the_tokens(town: Town) -> None:
    """``m8crm check --live`` asks the CRM as the server does, and says what to do before it is connected."""
    before = told(town.run("check", "--live", "--json"))
    assert "m8crm tenant connect nova acme" in str(before)
    town.connect()
    assert told(town.run("check", "--live", "--json"))["ok"]


def wear_out(town: Town) -> None:
    """Have the access token be at its end."""
    with town.inbox.database.write() as connection:
        connection.execute(update(oauth_token).values(expires_at=1.0))


def call(town: Town, **changes: Any) -> int:
    return town.client.post("/nova/calllog", json=call_log(**changes), headers=town.bearer).status_code


def delivered(town: Town) -> dict[str, int]:
    build_worker(town.parts).run_once()
    return dict(town.inbox.summary().states)


def test_only_an_ended_connection_pauses_the_customer(town: Town) -> None:
    """A token endpoint that fails costs a wait; ``invalid_grant`` pauses, raises the alarm, and connecting goes on."""
    town.connect()
    wear_out(town)
    town.provider.failures.append((503, {}))
    assert call(town) == 200
    delivered(town)
    condition = condition_of(town.inbox)
    assert (condition.paused, condition.disconnected) == ((), ())
    assert condition.unrenewed == {("nova", "acme"): 1}
    assert "failing by OAuth2" in town.run("tenant", "show", "nova").output

    town.provider.end()
    renewable(town)
    delivered(town)
    condition = condition_of(town.inbox)
    assert condition.disconnected == (("nova", "acme"),)
    assert condition.paused == (("nova", "acme"),)
    alarms = {(reading.kind, reading.subject) for reading in read_condition(condition, 300.0)}
    assert ("disconnected", "nova/acme") in alarms
    exposed = expose(see(town.inbox, town.parts.counts, town.folder))[0].decode()
    assert 'm8crm_disconnected{customer="nova",source="acme"} 1.0' in exposed
    assert town.client.get("/-/ready").json["disconnected_crms"] == 1  # type: ignore[index]
    assert "ended by OAuth2; m8crm tenant connect nova acme" in town.run("tenant", "show", "nova").output

    town.connect()
    forget_what_is_known(town)
    assert delivered(town)["delivered"] == 1
    assert condition_of(town.inbox).disconnected == ()


def renewable(town: Town) -> None:
    """Let the time until the next try pass."""
    with town.inbox.database.write() as connection:
        connection.execute(update(oauth_token).values(due_at=0.0))
        connection.execute(update(lane).values(due_at=0.0))


def forget_what_is_known(town: Town) -> None:
    """Let the five seconds pass for which a process believes what it has read."""
    tokens: Any = town.parts.accounts.tokens
    tokens._known.clear()


def test_a_wait_for_a_token_uses_up_no_attempt(town: Town) -> None:
    """While the token endpoint is down nothing is sent, and a call is not one attempt nearer to being dead."""
    town.connect()
    wear_out(town)
    town.provider.failures.append((500, {}))
    assert call(town) == 200
    delivered(town)
    with town.inbox.database.read() as connection:
        assert connection.execute(select(delivery.c.attempts)).scalars().all() == [0]
    assert town.provider.requests == 0
    renewable(town)
    assert delivered(town)["delivered"] == 1
