"""A recording that is kept, or lost, after its call was written."""

from __future__ import annotations

import pytest

from middleware.delivery.worker import Worker
from middleware.errors import StorageError
from middleware.parts import build_worker
from tests.recordings.keeping import link_of
from tests.recordings.outside import wav, whole
from tests.recordings.town import Town


def test_a_log_has_the_link_of_what_is_kept_later(town: Town) -> None:
    """When a recording that was lost is fetched after all, the log that was written without it gets the link."""
    town.configure("nordlys", hosts="elsewhere.example.com")
    town.served.answers["/a.wav"] = whole(wav())
    town.send()
    town.house.deliver()
    town.fetch()
    town.house.deliver()
    (log,) = town.logs()
    assert "lost" in log
    assert "/recordings/" not in log
    town.configure("nordlys")
    recordings = town.house.parts.recordings
    recordings.retry([recordings.list_recordings()[0].id])
    town.fetch()
    town.house.deliver()
    (log,) = town.logs()
    assert "lost" not in log
    link = link_of(recordings, "nordlys", recordings.list_recordings()[0].call_key)
    assert link
    assert link in log


def test_a_log_has_a_link_to_each_part_and_to_the_transcript(town: Town) -> None:
    """A recording in two parts, and a transcript, each have a link that plays; none of the sender's is left."""
    town.served.answers |= {"/a.wav": whole(wav(1)), "/b.wav": whole(wav(2)), "/t.json": whole(b'{"said": "hello"}')}
    town.send("nordlys", "/b.wav", "/a.wav", transcript="/t.json")
    town.house.deliver()
    town.fetch()
    town.house.deliver()
    (log,) = town.logs()
    links = dict(line.split(": ", 1) for line in log.splitlines() if "http" in line)
    heard = {label: town.house.client.get(link[link.index("/nordlys/") :]).data for label, link in links.items()}
    assert heard == {"Recording": wav(2), "Recording 2": wav(1), "Transcript": b'{"said": "hello"}'}


def test_a_recording_that_is_sent_under_two_links_is_linked_once(town: Town) -> None:
    """A link that was signed anew brings the same recording, which is in the log once."""
    town.served.answers |= {"/a.wav?first": whole(wav()), "/a.wav?again": whole(wav())}
    town.send("nordlys", "/a.wav?first")
    town.house.deliver()
    town.fetch()
    town.send("nordlys", "/a.wav?again")
    town.house.deliver()
    town.fetch()
    town.house.deliver()
    (log,) = town.logs()
    assert log.count("/recordings/") == 1


def test_a_log_says_that_its_recording_is_lost(town: Town) -> None:
    """A link in a log that will never play gives way to words."""
    event_id = town.send()
    town.configure("nordlys", hosts="elsewhere.example.com")
    town.house.deliver()
    (log,) = town.logs()
    assert "/recordings/" in log
    town.fetch()
    assert town.house.deliver() == 1
    (log,) = town.logs()
    assert "Recording: lost: it could not be fetched" in log
    assert "/recordings/" not in log
    assert town.attempts(event_id)[-1].endswith("completed.")


def test_a_record_that_cannot_be_completed_is_written_once(town: Town) -> None:
    """Where the adapter cannot complete a record, a recording that comes or goes later writes nothing."""
    town.configure("harbour", hosts="elsewhere.example.com")
    town.send("harbour")
    town.house.deliver()
    before = town.logs("harbour")
    town.fetch()
    town.house.deliver()
    assert town.logs("harbour") == before
    assert len(before) == 1


def test_what_changes_while_a_call_is_written_is_not_missed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is lost while its call is being written has the log completed right after."""
    town.send()
    town.configure("nordlys", hosts="elsewhere.example.com")
    record = Worker._record

    def record_and_lose(worker: Worker, *args: object) -> object:
        made = record(worker, *args)  # type: ignore[arg-type]
        town.fetch()
        return made

    monkeypatch.setattr(Worker, "_record", record_and_lose)
    build_worker(town.house.parts).run_once()
    town.house.deliver()
    (log,) = town.logs()
    assert "lost" in log


def test_a_database_that_fails_uses_up_no_attempt(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a recording cannot be noted, nothing is sent, the CRM is not to blame, and the call is tried again."""
    event_id = town.send()

    def fail(*_: object) -> int:
        raise StorageError("the database is locked")

    worker = build_worker(town.house.parts)
    worker._plan()
    with monkeypatch.context() as broken:
        broken.setattr(town.house.parts.recordings.ledger, "add", fail)
        worker.run_once()
    assert town.logs() == []
    (words,) = town.attempts(event_id)
    assert "own database" in words
    with town.house.parts.inbox.database.write() as connection:
        left = connection.exec_driver_sql("SELECT state, attempts, in_doubt FROM delivery").one()
        connection.exec_driver_sql("UPDATE lane SET due_at = 0")
    assert tuple(left) == ("waiting", 0, 0)
    worker.run_once()
    assert len(town.logs()) == 1


def test_a_recording_is_in_a_database_that_is_a_crm(town: Town) -> None:
    """With the queries for it, the ``sql`` adapter puts the file beside the call, once."""
    file = town.house.folder / "customers" / "nordlys.toml"
    told = "recording_key, call, name, content_type, size, data"
    parameters = ":recording_key, :external_id, :name, :content_type, :size, :data"
    queries = f"""attach_recording = "INSERT INTO file ({told}) VALUES ({parameters}) ON CONFLICT DO NOTHING"
has_recording = "SELECT 1 FROM file WHERE recording_key = :recording_key"
find_logged_call ="""
    file.write_text(file.read_text().replace("find_logged_call =", queries))
    town.rows("nordlys", f"CREATE TABLE file ({told}, UNIQUE (recording_key))")
    town.served.answers["/a.wav"] = whole(wav())
    event_id = town.send()
    town.house.deliver()
    town.fetch()
    for _ in range(3):
        town.house.deliver()
    found = town.rows("nordlys", "SELECT call_log.id = file.call, content_type, size, data FROM file, call_log, person "
                      "WHERE call_key LIKE 'm8-%' AND person.id = 101")  # fmt: skip
    assert found == [(1, "audio/wav", len(wav()), wav())]
    assert town.attempts(event_id)[-1] == "sql#recordings: Recordings attached: 1."


def test_the_card_has_the_link_of_a_call_that_was_just_logged(town: Town) -> None:
    """A card that was shown before has the link as soon as the recording is kept, and the link plays."""
    town.rows("nordlys", "ALTER TABLE call_log RENAME TO calls_of_today")  # its own search does not show the call yet
    town.rows("nordlys", "CREATE TABLE call_log AS SELECT * FROM calls_of_today WHERE 0")
    file = town.house.folder / "customers" / "nordlys.toml"
    text = file.read_text().replace("INTO call_log", "INTO calls_of_today")
    file.write_text(text.replace("UPDATE call_log", "UPDATE calls_of_today"))
    town.served.answers["/a.wav"] = whole(wav())
    town.send()
    town.house.deliver()
    (before,) = town.calls_on_card()
    assert "/recordings/" not in before
    town.fetch()
    town.house.deliver()
    (after,) = town.calls_on_card()
    link = after.split()[1]
    assert after.startswith("Recording: http")
    assert town.house.client.get(link[link.index("/nordlys/") :]).data == wav()
