"""``m8crm trigger`` for every sender, against a real server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from middleware.app import create_app
from middleware.demo.samples import SAMPLES
from middleware.parts import Parts, build_parts, build_worker
from middleware.receivers.registry import RECEIVERS
from middleware.settings import load_settings
from tests.cli.conftest import Run, told

TYPES = [(sender, name) for sender, known in SAMPLES.items() for name in known]


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


@pytest.fixture
def parts(demo_folder: Path) -> Iterator[Parts]:
    parts = build_parts(load_settings(demo_folder))
    yield parts
    parts.close()


@pytest.fixture
def url(parts: Parts) -> Iterator[str]:
    """Run the middleware over the demo's folder."""
    server = make_server("127.0.0.1", 0, create_app(parts=parts), request_handler=_Quiet)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("customer", ["nordlys", "harbour"])
def test_every_type_of_every_sender_is_accepted(run: Run, parts: Parts, url: str, customer: str) -> None:
    """Every sample opens the demo's receivers without a further option, and is understood."""
    for sender in RECEIVERS:
        result = run("trigger", customer, sender, "--type", "all", "--url", url, "--json")
        assert result.exit_code == 0, result.output
        answers = told(result)
        answers = answers if isinstance(answers, list) else [answers]
        assert [one["answer"]["status"] for one in answers] == ["accepted"] * len(SAMPLES[sender])
    assert len(parts.inbox.list_events(limit=100)) == len(TYPES)


def test_senders_are_all_there() -> None:
    """There is a sample of every receiver, and of no other."""
    assert set(SAMPLES) == set(RECEIVERS)


@pytest.mark.parametrize("form", ["form", "query"])
def test_cdr_in_every_form_is_the_same_event(run: Run, url: str, form: str) -> None:
    """A CDR as form or query string has the key that it has as JSON: the second is an update of the same call."""
    first = told(run("trigger", "nordlys", "cdr", "--type", "example", "--url", url, "--json"))
    other = told(run("trigger", "nordlys", "cdr", "--type", "example", "--as", form, "--url", url, "--json"))
    assert (first["answer"]["status"], other["answer"]["status"]) == ("accepted", "accepted")
    again = told(run("trigger", "nordlys", "cdr", "--type", "example", "--as", form, "--url", url, "--json"))
    assert again["answer"]["status"] == "duplicate"


def test_calls_are_different_calls(run: Run, parts: Parts, url: str) -> None:
    """``--calls`` makes up so many calls that differ in who, when, how long and how they ended, and are not joined."""
    sent = told(run("trigger", "nordlys", "pbx", "--type", "queue_call", "--calls", "12", "--url", url, "--json"))
    bodies = [one["sent"] for one in sent]
    assert len({body["unique_call_id"] for body in bodies}) == 12
    for field in ("caller_id", "user_name", "call_start_at", "call_duration", "status"):
        assert len({body[field] for body in bodies}) > 1, field
    assert all(bool(body["connected_at"]) == (body["status"] == "answered") for body in bodies)
    build_worker(parts)._plan()
    assert len({event.call_id for event in parts.inbox.list_events()}) == 12


def test_one_id_is_one_call(run: Run, url: str) -> None:
    """``--calls`` and ``--call-id`` contradict each other, and say so."""
    result = run("trigger", "nordlys", "pbx", "--calls", "2", "--call-id", "x", "--url", url)
    assert result.exit_code == 2
    assert "--call-id" in result.output


def test_refusal_promises_nothing(run: Run, url: str) -> None:
    """Where nothing was accepted nobody is sent to look for it."""
    result = run("trigger", "nordlys", "pbx", "--secret", "wrong", "--url", url)
    assert result.exit_code == 1
    assert "403" in result.output
    assert "events list" not in result.output


def test_any_field_can_be_changed_by_its_path(run: Run, url: str) -> None:
    """Dotted paths reach into objects and lists, and make what is not there."""
    sets = ["cdr.talk=12", "cdr.directoryMatches.0.fields.crmId=7", "new.deep=[1]", "customData=x", "customData.a=b"]
    arguments = [part for change in sets for part in ("--set", change)]
    sent = told(run("trigger", "nordlys", "cdr", "--type", "example", *arguments, "--url", url, "--json"))["sent"]
    assert sent["cdr"]["talk"] == 12
    assert sent["cdr"]["directoryMatches"][0]["fields"]["crmId"] == 7
    assert sent["cdr"]["directoryMatches"][0]["dirName"] == "My Global"
    assert (sent["new"], sent["customData"]) == ({"deep": [1]}, {"a": "b"})


def test_repeated_and_shuffled_events_are_the_same_events(run: Run, url: str) -> None:
    """Each event is sent so many times in any order, and only the first of each counts."""
    arguments = ["--type", "all", "--repeat", "3", "--shuffle", "--call-id", "0123456789abcdef"]
    answers = told(run("trigger", "nordlys", "pbx", *arguments, "--url", url, "--json"))
    statuses = [one["answer"]["status"] for one in answers]
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (12, 24)
    assert {one["sent"]["unique_call_id"] for one in answers} == {"0123456789abcdef"}


def test_no_secret_is_printed(run: Run, demo_folder: Path, url: str) -> None:
    """What trigger prints of a sender with its token in the URL does not hold the token."""
    secret = (demo_folder / "secrets" / "nordlys.postcall").read_text(encoding="utf-8")
    for more in ([], ["--json"]):
        assert secret not in run("trigger", "nordlys", "postcall", "--url", url, *more).output


def test_what_cannot_be_sent_is_refused(run: Run, url: str) -> None:
    """An unknown type lists those there are; a form is a CDR's."""
    result = run("trigger", "nordlys", "pbx", "--type", "fax", "--url", url)
    assert result.exit_code == 2
    assert "voicemail" in result.output
    assert run("trigger", "nordlys", "pbx", "--as", "form", "--url", url).exit_code == 2


def test_what_to_register_is_shown(run: Run, demo_folder: Path) -> None:
    """`tenant show` has every sender's URL and where its secret goes, and `tenant secret` makes it ready to copy."""
    shown = told(run("tenant", "show", "harbour", "--json"))
    assert set(shown) == set(RECEIVERS), demo_folder
    assert shown["cdr"]["url"].endswith("/harbour/cdr?token=SECRET")
    assert shown["pbx"]["credential"] == "X-Pbx-Token"
    assert "?token=SECRET" in run("tenant", "show", "harbour").output
    made = told(run("tenant", "secret", "harbour", "--receiver", "postcall", "--json"))
    assert made["postcall"].endswith(f"/harbour/postcall?token={made['secret']}")
    assert "/harbour/pbx" in run("tenant", "secret", "harbour", "--receiver", "pbx").output
