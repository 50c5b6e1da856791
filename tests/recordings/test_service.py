"""From a sender's link to ours: fetched in time, kept once, revocable, gone when it is to be gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest
import structlog
from structlog.testing import LogCapture

from middleware.crm.threads import DaemonPool
from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.model.call import Media
from middleware.recordings.fetch import Limits
from middleware.recordings.lane import FetchLane
from middleware.recordings.service import Recording, Recordings, Refusal
from middleware.recordings.store import FolderStore
from middleware.tenants.registry import Tenants
from middleware.tenants.secrets import digest
from tests.recordings.keeping import link_of
from tests.recordings.outside import FileServer, wav, whole

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = digest("a-long-secret-of-the-tests")


@dataclass
class Desk:
    """The recordings of a few customers, with a clock that the test moves."""

    folder: Path
    database_url: str
    served: FileServer
    moment: datetime = START
    changed: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "customers").mkdir()
        for name in ("acme", "beta"):
            self.configure(name, f'fetch = true\nhosts = ["{self.served.host}"]')
        self.inbox = Inbox(self.database_url, key=b"k", now=lambda: self.moment)
        self.store = FolderStore(self.folder / "kept")
        tenants = Tenants(self.folder / "customers", clock=iter(range(10**9)).__next__)
        self.recordings = Recordings(self.inbox, tenants, self.store, key=b"k" * 32, public_url="https://crm.example")
        self.lane = self.new_lane()

    def new_lane(self, **limits: float) -> FetchLane:
        bounds = Limits(**{"seconds": 10.0, "keep_free": 0, **limits})  # type: ignore[arg-type]
        return FetchLane(
            self.recordings,
            outside=self.served.outside(),
            limits=bounds,
            changed=lambda _connection, *told: self.changed.append(told),
            random=lambda: 1.0,
        )

    def configure(self, name: str, table: str) -> None:
        text = f'name = "{name}"\nregion = "SE"\n[secrets]\ninsights = ["{SECRET}"]\n[recordings]\n{table}\n'
        (self.folder / "customers" / f"{name}.toml").write_text(text)

    def note(self, path: str = "/a.wav", call: str = "call", tenant: str = "acme", minutes: float = 30) -> None:
        dies_at = self.moment + timedelta(minutes=minutes)
        self.recordings.note(tenant, call, [Media(url=self.served.url(path), expires_at=dies_at)])

    def only(self, tenant: str = "acme") -> Recording:
        (found,) = self.recordings.list_recordings(tenant)
        return found

    def files(self) -> list[Path]:
        return sorted(path for path in (self.folder / "kept").rglob("*") if path.is_file())

    def play(self, link: str | None, tenant: str = "acme") -> bytes | Refusal:
        """Open one of our links, and return what it plays."""
        assert link is not None
        recording_id, _, signature = link.rsplit("/", 1)[1].partition("?signature=")
        found = self.recordings.open(tenant, recording_id, signature, address="192.0.2.1")
        return found if isinstance(found, Refusal) else b"".join(self.recordings.read(found, 0, found.bytes))


@pytest.fixture
def desk(tmp_path: Path, database_url: str, served: FileServer) -> Iterator[Desk]:
    desk = Desk(tmp_path, database_url, served)
    yield desk
    desk.inbox.close()


def test_a_recording_outlives_its_link(desk: Desk) -> None:
    """What was fetched in time plays when the sender has it no more."""
    body = wav(1)
    desk.served.answers["/a.wav"] = whole(body)
    desk.note()
    assert desk.lane.fetch_due() == 1
    desk.served.answers.clear()
    desk.moment += timedelta(days=80)
    assert desk.play(link_of(desk.recordings, "acme", "call")) == body
    assert desk.changed == [("acme", "call")]
    assert desk.only().state == "kept"


def test_the_sender_s_link_is_kept_no_longer_than_needed(desk: Desk) -> None:
    """The key to the sender's recording is in no table when it is fetched, or dead."""
    desk.served.answers["/a.wav?key=s3cret"] = whole(wav())
    desk.note("/a.wav?key=s3cret")
    desk.note("/b.wav?key=s3cret", call="other")
    desk.lane.fetch_due()
    desk.moment += timedelta(minutes=31)
    desk.lane.fetch_due()
    desk.recordings.purge()
    with desk.inbox.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM recording WHERE url IS NOT NULL").scalar() == 0
    assert {found.state for found in desk.recordings.list_recordings()} == {"kept", "expired"}


def test_the_same_recording_twice_is_one_copy(desk: Desk) -> None:
    """Two links to the same bytes are one file, which goes with the last of its recordings."""
    desk.served.answers |= {"/a.wav": whole(wav()), "/b.wav": whole(wav())}
    desk.note("/a.wav", call="one")
    desk.note("/b.wav", call="two")
    desk.note("/b.wav", call="two")
    assert desk.lane.fetch_due() == 2
    assert len(desk.files()) == 1
    desk.recordings.forget("acme", ["one"])
    assert desk.play(link_of(desk.recordings, "acme", "two")) == wav()
    desk.recordings.forget("acme", ["two"])
    assert desk.files() == []


def test_customers_share_no_file(desk: Desk) -> None:
    """The same recording of two customers is kept by each for himself, and neither's link opens the other's."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note(tenant="acme")
    desk.note(tenant="beta")
    desk.lane.fetch_due()
    assert [path.relative_to(desk.folder / "kept").parts[0] for path in desk.files()] == ["acme", "beta"]
    link = link_of(desk.recordings, "acme", "call")
    assert desk.play(link, tenant="beta") is Refusal.FORBIDDEN
    desk.recordings.forget("beta", ["call"])
    assert desk.play(link) == wav()


def test_nothing_is_fetched_unless_wanted(desk: Desk) -> None:
    """Without ``fetch`` a sender's link is neither asked nor remembered."""
    desk.configure("acme", "")
    desk.note()
    assert desk.lane.fetch_due() == 0
    assert (desk.recordings.list_recordings(), desk.served.opened) == ([], [])
    assert link_of(desk.recordings, "acme", "call") is None


def test_a_link_is_passed_through_where_the_customer_prefers(desk: Desk) -> None:
    """With ``pass_through`` the log has the sender's own link, unless it is none for people."""
    desk.configure("acme", "pass_through = true")
    desk.note()
    desk.recordings.note("acme", "evil", [Media(url="javascript:alert(1)")])
    assert desk.lane.fetch_due() == 0
    assert link_of(desk.recordings, "acme", "call") == desk.served.url()
    assert link_of(desk.recordings, "acme", "evil") is None


def test_a_host_that_is_not_allowed_is_never_asked(desk: Desk) -> None:
    """A host the customer has not named is refused for good, and fetched when he has named it."""
    desk.configure("acme", 'fetch = true\nhosts = ["other.example.com"]')
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    desk.lane.fetch_due()
    assert (desk.only().state, desk.served.opened) == ("failed", [])
    assert "hosts" in (desk.only().words or "")
    desk.configure("acme", f'fetch = true\nhosts = ["{desk.served.host}"]')
    assert desk.lane.fetch_due() == 0
    assert desk.recordings.retry([desk.only().id]) == 1
    desk.lane.fetch_due()
    assert desk.only().state == "kept"


def test_a_fetch_is_tried_until_just_before_the_link_dies(desk: Desk) -> None:
    """Failures are tried again ever later, once more shortly before the end, and then the recording is lost."""
    desk.note(minutes=30)
    tried = []
    while desk.only().state == "waiting":
        if desk.lane.fetch_due():
            tried.append((desk.moment - START).total_seconds())
        desk.moment += timedelta(seconds=4)
    assert tried[0] == 0
    assert tried[-1] == 30 * 60 - 20
    gaps = [later - earlier for earlier, later in pairwise(tried[:-1])]
    assert gaps == sorted(gaps)
    assert max(gaps) <= 304
    assert desk.only().state == "expired"
    assert "404" in (desk.only().words or "")
    assert link_of(desk.recordings, "acme", "call") is None
    assert desk.changed == [("acme", "call")]


def test_a_login_page_is_no_recording(desk: Desk) -> None:
    """Something else that comes with status 200 is not kept, and asked for again."""
    desk.served.answers["/a.wav"] = whole(b"<html>Please log in</html>", headers={"Content-Type": "audio/wav"})
    desk.note()
    desk.lane.fetch_due()
    assert (desk.only().state, desk.files()) == ("waiting", [])


def test_a_hung_file_server_is_its_customer_s_trouble_only(desk: Desk) -> None:
    """While one customer's fetches hang, at most four of them, another's recording is fetched."""
    reached, pool = Event(), DaemonPool("test")

    def hang(_handler: object) -> None:
        reached.set()
        desk.served.over.wait()

    desk.served.answers |= {f"/{i}": hang for i in range(20)}
    desk.served.answers["/a.wav"] = whole(wav())
    for i in range(20):
        desk.note(f"/{i}", call=str(i))
    hanging = pool.submit(desk.new_lane(seconds=30).fetch_due)
    assert reached.wait(20)
    desk.note(tenant="beta")
    desk.lane.fetch_due()
    assert desk.only("beta").state == "kept"
    assert sum(found.attempts for found in desk.recordings.list_recordings("acme")) == 4
    desk.served.over.set()
    assert hanging.result(20) == 4


def test_a_fetch_that_died_with_its_process_is_made_again(desk: Desk) -> None:
    """What a killed process had begun is fetched when its lease is over, and not before."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    assert len(desk.recordings.ledger.claim(desk.moment.timestamp(), 60, 10)) == 1
    assert desk.lane.fetch_due() == 0
    desk.moment += timedelta(seconds=61)
    assert desk.lane.fetch_due() == 1
    assert desk.only().state == "kept"


def test_a_fetch_under_way_is_given_back_at_the_end(desk: Desk) -> None:
    """A process that stops does not wait for a hung file server, and another one tries at once."""
    reached = Event()

    def hang(_handler: object) -> None:
        reached.set()
        desk.served.over.wait()

    desk.served.answers["/a.wav"] = hang
    desk.note()
    lane = desk.new_lane(seconds=30)
    lane.start()
    assert reached.wait(20)
    lane.stop(grace=0.1)
    desk.served.answers["/a.wav"] = whole(wav())
    assert desk.lane.fetch_due() == 1
    assert desk.only().state == "kept"
    desk.served.over.set()


def test_what_is_forgotten_while_it_is_fetched_is_not_kept(desk: Desk) -> None:
    """A recording that is forgotten during its fetch leaves neither a file nor a row."""

    def forget(handler: object) -> None:
        desk.recordings.forget("acme", ["call"])
        whole(wav())(handler)  # type: ignore[arg-type]

    desk.served.answers["/a.wav"] = forget
    desk.note()
    desk.lane.fetch_due()
    assert desk.files() == []
    assert desk.recordings.ledger.of_call("acme", "call") == []
    with desk.inbox.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM recording").scalar() == 0


def test_what_is_forgotten_while_it_is_kept_is_not_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is forgotten at the very moment it is stored leaves neither a file nor a row."""
    put = desk.store.put

    def put_late(tenant_id: str, sha256: str, path: Path) -> None:
        desk.recordings.forget("acme", ["call"])
        put(tenant_id, sha256, path)

    monkeypatch.setattr(desk.store, "put", put_late)
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    desk.lane.fetch_due()
    assert desk.files() == []
    desk.recordings.purge()
    with desk.inbox.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM recording").scalar() == 0


def test_two_that_fetch_the_same_leave_it_whole(desk: Desk) -> None:
    """When a fetch outlives its lease and another is made meanwhile, the recording is kept, once."""
    depth: list[int] = []

    def again(handler: object) -> None:
        if not depth:  # the first fetch is still under way when the second is made
            depth.append(1)
            desk.moment += timedelta(minutes=10)
            desk.lane.fetch_due()
        whole(wav())(handler)  # type: ignore[arg-type]

    desk.served.answers["/a.wav"] = again
    desk.note()
    desk.lane.fetch_due()
    desk.recordings.purge()
    assert (desk.only().state, desk.only().attempts, len(desk.files())) == ("kept", 2, 1)
    assert desk.play(link_of(desk.recordings, "acme", "call")) == wav()


def test_a_revoked_link_is_dead_and_a_new_one_is_not(desk: Desk) -> None:
    """Revoking ends the links that were given, and leaves the recording."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    desk.lane.fetch_due()
    old = link_of(desk.recordings, "acme", "call")
    assert desk.recordings.revoke([desk.only().id]) == 1
    assert desk.play(old) is Refusal.REVOKED
    assert desk.play(link_of(desk.recordings, "acme", "call")) == wav()


def test_a_link_dies_with_its_recording_or_before(desk: Desk) -> None:
    """A link lives as long as the recording is kept, or as long as it was made for."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    desk.lane.fetch_due()
    link, short = (
        link_of(desk.recordings, "acme", "call"),
        desk.recordings.link(desk.only().id, lifetime=timedelta(hours=1)),
    )
    desk.moment += timedelta(hours=1)
    assert (desk.play(link), desk.play(short)) == (wav(), Refusal.EXPIRED)
    desk.moment += timedelta(days=90)
    assert desk.recordings.purge() == 1
    assert desk.files() == []
    assert desk.play(link) is Refusal.EXPIRED


def test_a_link_cannot_be_made_or_changed(desk: Desk) -> None:
    """Without the installation's key there is no link, nor one to another recording."""
    desk.served.answers |= {"/a.wav": whole(wav()), "/b.wav": whole(wav(2))}
    desk.note("/a.wav", call="one")
    desk.note("/b.wav", call="two")
    desk.lane.fetch_due()
    one, two = link_of(desk.recordings, "acme", "one"), link_of(desk.recordings, "acme", "two")
    assert one
    assert two
    assert desk.play(one.partition("?")[0] + "?signature=") is Refusal.FORBIDDEN
    assert desk.play(one.partition("?")[0] + "?" + two.partition("?")[2]) is Refusal.FORBIDDEN
    assert desk.play(one[:-1] + ("A" if one[-1] != "A" else "Q")) is Refusal.FORBIDDEN
    other = Recordings(desk.inbox, desk.recordings.tenants, desk.store, key=b"x" * 32, public_url="https://crm.example")
    assert desk.play(link_of(other, "acme", "one")) is Refusal.FORBIDDEN


def test_every_use_of_a_link_is_known(desk: Desk) -> None:
    """Who has listened, or tried to with a dead link, stands in the audit; who had none does not fill it."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    desk.lane.fetch_due()
    link = link_of(desk.recordings, "acme", "call")
    assert link
    desk.play(link)
    desk.play(link)
    desk.play(link + "x")
    desk.moment += timedelta(minutes=1)
    desk.recordings.revoke([desk.only().id])
    desk.play(link)
    told = [(one.at, one.outcome, one.requests) for one in desk.recordings.list_accesses(desk.only().id)]
    assert told == [(START, "played", 2), (START + timedelta(minutes=1), "revoked", 1)]
    assert desk.only().played == 2


def test_the_link_is_there_at_once_and_stays(desk: Desk) -> None:
    """A log that is written before the fetch has the link that plays afterwards."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    early = link_of(desk.recordings, "acme", "call")
    assert desk.play(early) is Refusal.WAITING
    desk.lane.fetch_due()
    assert link_of(desk.recordings, "acme", "call") == early
    assert desk.play(early) == wav()


def test_forgetting_leaves_nothing(desk: Desk) -> None:
    """After forgetting there is no file, no row and no audit, and the link says that it is gone."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()
    desk.lane.fetch_due()
    link = link_of(desk.recordings, "acme", "call")
    desk.play(link)
    assert desk.recordings.forget("acme", ["call"]) == 1
    assert desk.play(link) is Refusal.REMOVED
    with desk.inbox.database.read() as connection:
        for table in ("recording", "recording_access"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
    assert desk.files() == []


def test_a_store_that_fails_costs_nothing_but_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept now is fetched again; what cannot be removed now is removed later."""
    desk.served.answers["/a.wav"] = whole(wav())
    desk.note()

    def fail(*_: object) -> None:
        raise StorageError("the object store did not answer")

    with monkeypatch.context() as broken:
        broken.setattr(desk.store, "put", fail)
        desk.lane.fetch_due()
        assert desk.only().state == "waiting"
    desk.moment += timedelta(seconds=10)
    desk.lane.fetch_due()
    assert desk.only().state == "kept"
    with monkeypatch.context() as broken:
        broken.setattr(desk.store, "delete", fail)
        with pytest.raises(StorageError):
            desk.recordings.forget("acme", ["call"])
    desk.moment += timedelta(minutes=10)
    desk.recordings.purge()
    assert desk.files() == []


def test_no_link_reaches_a_log(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens to a recording, its sender's link is in no line of the log."""
    lines = LogCapture()
    own = structlog.wrap_logger(None, processors=[lines], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr("middleware.recordings.lane.log", own)
    desk.served.answers["/ok?key=s3cret"] = whole(wav())
    for path in ("/ok?key=s3cret", "/404?key=s3cret"):
        desk.note(path)
    desk.recordings.note("acme", "bad", [Media(url="ftp://ada:s3cret@files.example.com/")])
    desk.lane.fetch_due()
    assert sorted(line["state"] for line in lines.entries) == ["failed", "kept", "waiting"]
    assert "s3cret" not in str(lines.entries)
    words: Sequence[str] = [found.words or "" for found in desk.recordings.list_recordings()]
    assert "s3cret" not in "".join(words)


def test_the_lane_works_by_itself_until_it_is_stopped(desk: Desk) -> None:
    """A started lane fetches what comes, and ends when told to."""
    kept = Event()
    lane = FetchLane(
        desk.recordings,
        outside=desk.served.outside(),
        limits=Limits(seconds=10, keep_free=0),
        changed=lambda *_: kept.set(),
    )
    desk.served.answers["/a.wav"] = whole(wav())
    lane.start()
    desk.note()
    assert kept.wait(20)
    lane.stop()
    desk.note("/b.wav", call="other")
    assert {found.state for found in desk.recordings.list_recordings()} == {"kept", "waiting"}
