"""``m8crm console``: the command line's twin of who may come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from middleware.cli import main

PASSWORD = "a long enough password"


@pytest.fixture
def run_with(demo_folder: Path) -> Any:
    """Run ``m8crm --data FOLDER console …`` with a password on standard input."""

    def invoke(*arguments: str, typed: str = PASSWORD) -> Result:
        return CliRunner().invoke(main, ["--data", str(demo_folder), "console", *arguments], input=f"{typed}\n")

    return invoke


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_accounts_come_and_go(run_with: Any, demo_folder: Path) -> None:
    """An account is made, listed, given another password and removed; the log has it, without a password.

    The password is hashed with what OWASP's Password Storage Cheat Sheet asks of argon2id.
    """
    assert "The console is off" in run_with("user", "add", "ada", "--role", "hoster").output
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in (demo_folder / "m8crm.db").read_bytes()
    told(run_with("user", "add", "nora", "--role", "customer", "--customer", "nordlys", "--json"))
    listed = told(run_with("user", "list", "--json"))
    assert [(one["name"], one["role"], one["customer"]) for one in listed] == [
        ("ada", "hoster", None),
        ("nora", "customer", "nordlys"),
    ]
    assert "nora: customer nordlys" in run_with("user", "list").output
    assert run_with("user", "password", "nora", typed="another long password").exit_code == 0
    assert run_with("user", "remove", "nora").exit_code == 0
    audit = told(run_with("audit", "--json"))
    assert [one["action"] for one in audit] == ["account removed", "password changed", "account added", "account added"]
    assert all(one["who"].startswith("shell:") for one in audit)
    assert "password" not in json.dumps([one["about"] for one in audit])
    assert "account added (ada, hoster)" in run_with("audit").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "add", "ada", "--role", "customer"),
        ("user", "add", "ada", "--role", "customer", "--customer", "nobody"),
        ("user", "remove", "nobody"),
        ("user", "password", "nobody"),
        ("session", "end", "nobody"),
        ("link", "nobody"),
        ("link",),
        ("link", "--revoke", "nothing"),
    ],
)
def test_what_cannot_be_is_a_sentence(run_with: Any, arguments: tuple[str, ...]) -> None:
    """A customer or an account that is not there is told without a traceback."""
    result = run_with(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_short_password_is_refused(run_with: Any) -> None:
    """A password of less than twelve characters makes no account."""
    assert "12 characters" in run_with("user", "add", "ada", "--role", "care", typed="short").output
    assert told(run_with("user", "list", "--json")) == []


def test_links_are_made_listed_and_revoked(run_with: Any) -> None:
    """A link is shown once, listed by its id without its secret, and ended."""
    made = told(run_with("link", "nordlys", "--days", "3", "--json"))
    assert "/-/console/link/" in made["url"]
    listing = run_with("link", "--list").output
    assert made["id"] in listing
    assert made["url"].rsplit("/", 1)[1] not in listing
    (left,) = told(run_with("link", "--revoke", made["id"], "--json"))
    assert left["is_revoked"]


def test_sessions_are_listed_and_ended(run_with: Any, demo_folder: Path) -> None:
    """Whoever has signed in is listed, and out by a command."""
    from middleware.console.access import build_access
    from middleware.console.roles import Role, Viewer
    from middleware.parts import build_parts
    from middleware.settings import load_settings

    parts = build_parts(load_settings(demo_folder))
    sessions = build_access(parts.inbox, parts.key).sessions
    token = sessions.begin(Viewer(name="ada", role=Role.HOSTER), "203.0.113.7")
    assert "ada (hoster), 203.0.113.7" in run_with("session", "list").output
    assert told(run_with("session", "end", "ada", "--json")) == {"ended": 1}
    assert sessions.find(token) is None
    assert "Nobody has signed in." in run_with("session", "list").output
    parts.close()
