"""Every page of the console, with something on it: where it is, and which form leads to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sqlalchemy import select

from middleware.inbox.tables import delivery
from tests.conftest import House
from tests.console.conftest import HOME, Person, access_of
from tests.console.test_calls import log, quarantined, set_state

CONNECTABLE = f"""
name = "Nova"
region = "SE"
[secrets]
insights = ["sha256:{"0" * 64}"]
[[crm]]
adapter = "hubspot"
auth = "oauth2"
client_id = "made-up"
client_secret = "made up"
"""
OTHER = "+46701740606"


@dataclass(frozen=True)
class Place:
    """What is asked for: by its address, or by a form."""

    path: str
    form: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{HOME}/{self.path}".rstrip("/")


@dataclass(frozen=True)
class Busy:
    """What there is to look at."""

    trace: str
    event: str
    dead: str
    parked: str
    quarantined: str
    link: str
    replay: str

    @property
    def places(self) -> dict[str, list[Place]]:
        """Return the places of every view, by its endpoint; those of a form have one."""
        lookup = {"customer": "nordlys", "number": "070-174 06 05"}
        sample = {"customer": "nordlys", "event": "pbx.queue_call", "number": OTHER}
        return {
            "overview.page": [Place("")],
            "lookup.page": [Place("lookup")],
            "lookup.look_up": [
                Place("lookup", lookup),
                Place("lookup", {**lookup, "number": "0701740699"}),
                Place("lookup", {"customer": "nobody", "number": "1"}),
            ],
            "calls.page": [Place("calls")],
            "calls.search": [Place("calls", {"state": "dead"}), Place("calls", {"number": "070-174 06 05"})],
            "events.page": [Place(f"events/{one}") for one in (self.event, self.dead, self.parked, self.quarantined)],
            "events.show_body": [Place(f"events/{one}/body", {"ask": "1"}) for one in (self.event, self.quarantined)],
            "events.replay": [Place(f"events/{self.parked}/replay", {"ask": "1"})],
            "events.edit": [Place(f"events/{self.quarantined}/edit", {"body": '{"duration": "x"}'})],
            "replays.begin": [Place("replays", {"customer": "nordlys", "state": "dead"})],
            "replays.page": [Place(f"replays/{self.replay}")],
            "replays.step": [Place(f"replays/{self.replay}", {"state": "dead", "before": "1"})],
            "sender.page": [Place("sender")],
            "sender.sample": [Place("sender", sample)],
            "sender.send": [Place("sender/send", {**sample, "body": "{"})],
            "traces.page": [Place("traces")],
            "traces.search": [Place("traces", {"customer": "nordlys"})],
            "traces.one": [Place(f"traces/{self.trace}"), Place("traces/none")],
            "customers.page": [Place("customers")],
            "customers.form": [Place("customers/add")],
            "customers.add": [
                Place("customers/add", {"id": "new", "name": "New AB", "region": "SE"}),
                Place("customers/add", {"id": "A B", "name": "", "region": "XX"}),
            ],
            "customer.page": [Place(f"customer/{one}") for one in ("nordlys", "harbour", "nova", "broken")],
            "customer.connect": [Place("customer/nova/connect", {"crm": "hubspot"})],
            "customer.disconnect": [Place("customer/nova/disconnect", {"crm": "hubspot"})],
            "customer.build_index": [Place("customer/nordlys/index", {"crm": "sql"})],
            "customer.change": [Place("customer/nordlys/settings", {"region": "XX"})],
            "customer.add_secret": [Place("customer/nordlys/secret", {"receiver": "pbx"})],
            "customer.revoke_secret": [Place("customer/nordlys/secret/revoke", {"receiver": "pbx", "digits": "0"})],
            "customer.make_link": [Place("customer/nordlys/link", {"days": "7"})],
            "customer.revoke_link": [Place("customer/nordlys/link/revoke", {"link": self.link})],
            "plots.page": [Place("plots"), Place("plots?customer=nordlys&window=30d")],
            "adapters.page": [Place("adapters")],
            "system.page": [Place("system")],
            "system.try_alarm": [Place("system/alarm", {"ask": "1"})],
            "audit.page": [Place("audit")],
            "nowhere.page": [Place("nowhere/at/all")],
            "signing_in.link": [Place("link/none")],
            "signing_in.enter": [Place("link/none", {"ask": "1"})],
            "signing_in.sign_out": [Place("sign-out", {"ask": "1"})],  # from here on nobody has signed in
            "signing_in.page": [Place("sign-in")],
            "signing_in.sign_in": [Place("sign-in", {"name": "ada", "password": "wrong"})],
        }


def make_busy(house: House, person: Person) -> Busy:
    """Let calls and lookups of every kind have been, one customer's file be broken, another's CRM wait for OAuth2."""
    (house.folder / "customers" / "broken.toml").write_text("region = 7")
    (house.folder / "customers" / "nova.toml").write_text(CONNECTABLE)
    unknown = house.customers["nordlys"].unknown_number
    trace = house.lookup().headers["X-Request-Id"]
    for number in (unknown, "anonymous"):
        house.lookup(number)
    now = round(house.parts.inbox.now().timestamp() * 1000)
    times = (now - 3_600_000 * hours for hours in range(1, 9))
    dead = log(house, OTHER, "Never arrives.", startTime=next(times))
    house.deliver()
    set_state(house, "dead")
    replay = re.search(rf"{HOME}/replays/([0-9a-f]{{24}})", person.post(f"{HOME}/replays", state="dead").text)
    assert replay
    set_state(house, "dead")
    parked = log(house, unknown, startTime=next(times))
    event = log(house, startTime=next(times))
    house.deliver()
    log(house, startTime=next(times))  # waits
    link, _ = access_of(house).links.make("nordlys", "ada")
    with house.parts.inbox.database.read() as connection:
        states = set(connection.execute(select(delivery.c.state)).scalars())
    assert {"dead", "parked", "delivered"} <= states, states
    return Busy(
        trace=trace,
        event=event,
        dead=dead,
        parked=parked,
        quarantined=quarantined(house),
        link=link.id,
        replay=replay[1],
    )
