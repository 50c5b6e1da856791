"""A house whose customers have their recordings fetched from a file server of the test's own."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Any

from middleware.parts import build_lane
from tests.conftest import House, call_log
from tests.recordings.outside import FileServer

CONTACTS = {"nordlys": "+46701740605", "harbour": "+447700900101"}
TABLES = {
    "nordlys": "SELECT text FROM call_log WHERE call_key LIKE 'm8-%'",
    "harbour": "SELECT summary FROM calls WHERE ref LIKE 'm8-%'",
}
START = call_log()["startTime"]


@dataclass
class Town:
    """Sends a recording, fetches it and looks into the CRM; every step is the product's own."""

    house: House
    served: FileServer

    def __post_init__(self) -> None:
        self.house.parts.tenants._clock = count(int(time.monotonic())).__next__  # every look at a file is a new one

    def configure(self, customer: str, hosts: str | None = None, more: str = "") -> None:
        """Have the customer's recordings fetched, from ``hosts`` only."""
        file = self.house.folder / "customers" / f"{customer}.toml"
        table = f'\n[recordings]\nfetch = true\nhosts = ["{hosts or self.served.host}"]\n{more}'
        file.write_text(file.read_text().partition("\n[recordings]")[0] + table)

    def send(self, customer: str = "nordlys", *paths: str, start: int = START, transcript: str = "") -> str:
        """Post the recordings of a call, by default one, and a transcript; return the event's id."""
        number = 4711_4711_4711_4711  # long enough to be an id in all the world
        urls = [self.served.url(path) for path in paths or ("/a.wav",)]
        body = {"id": number, "fileUrls": urls, "callerNumber": CONTACTS[customer]}
        body |= {"calleeNumber": "+46846500400", "startTime": start, "endTime": start + 60_000, "direction": "inbound"}
        body |= {"talkTime": 60_000, "recorderId": "ada@acme.se"}
        secrets = self.house.customers[customer].secrets
        if transcript:
            told = {"callId": str(number), "transcriptUri": self.served.url(transcript)}
            token = {"token": secrets["postcall"]}
            assert self.house.client.post(f"/{customer}/postcall", json=told, query_string=token).status_code == 200
        headers = {"Authorization": f"Bearer {secrets['recording']}"}
        answer = self.house.client.post(f"/{customer}/recording", json=body, headers=headers)
        assert answer.status_code == 200, answer.data
        assert answer.json
        return str(answer.json["id"])

    def fetch(self) -> int:
        """Fetch what is due, as the lane does."""
        return build_lane(self.house.parts, self.served.outside()).fetch_due()

    def logs(self, customer: str = "nordlys") -> list[str]:
        """Return what the CRM has of the calls that were written into it."""
        return [str(row[0]) for row in self.rows(customer, TABLES[customer])]

    def rows(self, customer: str, query: str) -> list[Any]:
        """Return what a query of the customer's CRM finds."""
        (file,) = self.house.folder.glob(f"**/*{customer}*.db")
        with closing(sqlite3.connect(file)) as database:
            return database.execute(query).fetchall()

    def attempts(self, event_id: str) -> list[str]:
        """Return what ``m8crm events show`` tells of the event's attempts."""
        event = self.house.parts.inbox.find_event(event_id)
        assert event
        return [f"{attempt.channel}: {attempt.words}" for attempt in event.attempts]

    def calls_on_card(self, customer: str = "nordlys") -> list[str]:
        """Return the texts of the calls on the contact's card."""
        card = self.house.lookup(CONTACTS[customer], customer).json
        assert card
        return [activity["body"] for activity in card["activities"] if activity["type"] == "CALL"]
