"""A process of an installation that wants a token: says when it is ready, waits for a line, prints what it got.

Arguments: the database's URL, the file of the keys, the provider's URL, and the seconds that its clock is ahead.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from middleware.inbox.database import Database, open_database
from middleware.inbox.postgresql import PostgreSQL
from middleware.model.deadline import Deadline
from middleware.oauth.grants import Grants
from middleware.oauth.protocol import Protocol
from middleware.oauth.tokens import StoredTokens
from middleware.oauth.vault import Vault
from tests.oauth.provider import Provider


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(url: str, keys: str, provider: str, ahead: str) -> None:
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(ahead))

    PostgreSQL.lease_clock = Database.lease_clock  # type: ignore[method-assign]  # that of the server cannot be moved
    tokens = StoredTokens(Grants(open_database(url), Vault(Path(keys)), now), Protocol())
    say("ready")
    sys.stdin.readline()
    client = Provider(url=provider).client()
    say(f"got {tokens.get(client, Deadline.after(timedelta(seconds=30))).reveal()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
