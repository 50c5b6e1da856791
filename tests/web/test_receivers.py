"""What every receiver promises, whoever the sender is."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.model.call import CallEvent
from middleware.receivers.fields import FieldErrors
from middleware.receivers.registry import RECEIVERS
from tests.conftest import House
from tests.web.sending import SENDERS, log_anew, path_and_headers, sample, secret_of, send, stored_type

pytestmark = pytest.mark.parametrize("sender", SENDERS)
LIMIT = 256 * 1024


def stored(house: House) -> list[Any]:
    return house.parts.inbox.list_events()


def test_event_is_stored_and_acknowledged_once(house: House, sender: str) -> None:
    """An event is on disk as it came before exactly 200 is said, and the same one again is a duplicate."""
    raw = json.dumps(sample(sender), indent=1).encode()
    first = send(house, sender, raw)
    assert (first.status_code, first.get_json()["status"]) == (200, "accepted")
    again = send(house, sender, raw)
    assert (again.status_code, again.get_json()) == (200, {"status": "duplicate", "id": first.get_json()["id"]})
    (event,) = stored(house)
    assert (event.sender, event.raw, stored_type(house)) == (sender, raw, "application/json")


def test_stored_event_is_understood_as_it_was(house: House, sender: str) -> None:
    """What the worker reads from the disk is what the request told."""
    send(house, sender, sample(sender))
    (event,) = stored(house)
    receiver = RECEIVERS[sender]
    assert receiver.parse_stored(event.raw, stored_type(house)) == receiver.parse(sample(sender))


def test_new_fields_are_kept(house: House, sender: str) -> None:
    """A field that nobody knows breaks nothing and is on disk."""
    assert send(house, sender, {**sample(sender), "new": {"deep": [1]}}).get_json()["status"] == "accepted"
    assert json.loads(stored(house)[0].raw)["new"] == {"deep": [1]}


def test_wrong_secrets_are_refused(house: House, sender: str) -> None:
    """No secret is 401, a wrong one and one of another customer are 403; nothing is stored."""
    for secret, status in ((None, 401), ("nope", 403), (secret_of(house, sender, "harbour"), 403)):
        path, headers = path_and_headers(sender, secret)
        answer = house.client.post(path, json=sample(sender), headers=headers)
        assert answer.status_code == status, secret
        assert isinstance(answer.get_json()["message"], str)
    assert stored(house) == []


def test_secret_opens_its_own_receiver_only(house: House, sender: str) -> None:
    """The secret of one receiver is worth nothing at another, nor at the lookup."""
    own = secret_of(house, sender)
    for other in SENDERS:
        path, headers = path_and_headers(other, own)
        assert house.client.post(path, json=sample(other), headers=headers).status_code == (
            200 if other == sender else 403
        )
    lookup = house.client.get("/nordlys/lookup?fromNumber=1", headers={"Authorization": f"Bearer {own}"})
    assert (lookup.status_code == 403) == (RECEIVERS[sender].secret != "insights")


def test_secret_elsewhere_is_no_secret(house: House, sender: str) -> None:
    """A secret counts only where its sender puts it."""
    secret = secret_of(house, sender)
    for other in SENDERS:
        path, headers = path_and_headers(other, secret)
        path = path.replace(f"/{other}", f"/{sender}")
        is_same = path_and_headers(sender, secret) == (path, headers)
        status = house.client.post(path, json=sample(sender), headers=headers).status_code
        assert status == (200 if is_same else 401), other


def test_unknown_customer_answers_like_a_wrong_secret(house: House, sender: str) -> None:
    """Who does not know the secret cannot tell whether a customer exists."""
    answers = []
    for customer in ("nordlys", "no-such-customer"):
        path, headers = path_and_headers(sender, "nope", customer)
        answers.append(house.client.post(path, json=sample(sender), headers=headers))
    assert answers[0].data == answers[1].data
    assert [answer.status_code for answer in answers] == [403, 403]


def test_no_secret_reaches_a_log(
    house: House, sender: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a right nor a wrong secret, nor a number, is in anything that is logged, whatever happens."""
    log_anew(monkeypatch)
    for secret in (secret_of(house, sender), "canary-secret"):
        path, headers = path_and_headers(sender, secret)
        for raw in (json.dumps(sample(sender)).encode(), b"nonsense", b"x" * (LIMIT + 1), b"{}"):
            house.client.post(path, data=raw, content_type="application/json", headers=headers)
        house.client.post(path, data=b"x", content_type="text/plain", headers=headers)
        house.client.delete(path, headers=headers)
        house.client.get(path, headers=headers)
    logged = "".join(capsys.readouterr())
    assert logged.count(f'/{sender}"') >= 10
    assert secret_of(house, sender) not in logged
    assert "canary-secret" not in logged
    assert "701740605" not in logged


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense", b'{"a": ', b"\xff\xfe\x00", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", b"[" * 200_000]
)
def test_what_is_no_json_is_refused(house: House, sender: str, raw: bytes) -> None:
    """No JSON, and JSON nested too deeply, is 400 with a message, and nothing is stored."""
    answer = send(house, sender, raw)
    assert answer.status_code == 400
    assert answer.get_json()["message"]
    assert stored(house) == []


@pytest.mark.parametrize("content_type", ["text/plain", "text/xml", "application/octet-stream"])
def test_other_media_types_are_refused(house: House, sender: str, content_type: str) -> None:
    """What is sent as something else is 415 and names what is read."""
    answer = send(house, sender, sample(sender), content_type)
    assert answer.status_code == 415
    assert "application/json" in answer.get_json()["message"]
    assert stored(house) == []


def test_forms_are_read_of_a_cdr_only(house: House, sender: str) -> None:
    """A form is 415 where its sender never sends one."""
    status = send(house, sender, b"cdr[id]=1", "application/x-www-form-urlencoded").status_code
    assert status == (200 if sender == "cdr" else 415)


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "application/vnd.x+json"])
def test_json_is_known_by_any_of_its_names(house: House, sender: str, content_type: str | None) -> None:
    """A sender that is vague about JSON is understood."""
    assert send(house, sender, sample(sender), content_type).get_json()["status"] == "accepted"


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
def test_too_large_a_body_is_refused(house: House, sender: str, size: int, status: int) -> None:
    """More than 256 kB is 413 with a message, and nothing of it is stored."""
    raw = json.dumps(sample(sender)).encode()
    answer = send(house, sender, raw + b" " * (size - len(raw)))
    assert answer.status_code == status
    assert len(stored(house)) == (status == 200)


def test_body_that_is_cut_off_is_refused(house: House, sender: str) -> None:
    """A part of a body is never taken for an event, even when it is JSON by itself."""
    raw = json.dumps(sample(sender)).encode()
    environ: dict[str, Any] = {
        "wsgi.input": io.BytesIO(raw),
        "CONTENT_LENGTH": str(len(raw) + 1),
        "wsgi.input_terminated": True,
    }
    assert send(house, sender, raw, **environ).status_code == 400
    assert stored(house) == []


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"1", b"null", b'{"a": NaN, "b": 1e999}', b'{"id": {}, "cdr": 1}'])
def test_readable_oddities_are_never_lost(house: House, sender: str, raw: bytes) -> None:
    """Any JSON at all is kept as it came, answered 200, and quarantined with its field errors."""
    answer = send(house, sender, raw)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "quarantined")
    assert answer.get_json()["errors"]
    assert [(event.raw, event.state) for event in stored(house)] == [(raw, "quarantined")]


def test_storage_that_fails_is_503(house: House, sender: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be stored is never acknowledged; the sender is told when to come again."""

    def fail(*args: object, **kwargs: object) -> None:
        raise StorageError("full")

    monkeypatch.setattr(Inbox, "accept", fail)
    answer = send(house, sender, sample(sender))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def _parse(sender: str, document: object) -> tuple[CallEvent | None, str]:
    try:
        return RECEIVERS[sender].parse(document), ""
    except FieldErrors as error:
        return None, json.dumps(error.errors)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), whole=JSON)
def test_no_json_breaks_a_receiver(sender: str, data: st.DataObject, whole: object) -> None:
    """Any JSON at all, and a sample with any values in it, is an event or has field errors."""
    body = sample(sender)
    for place in [body, *(inner for inner in body.values() if isinstance(inner, dict))]:
        place.update(data.draw(st.dictionaries(st.sampled_from([*place, "new"]), JSON, max_size=3)))
    for document in (whole, body):
        event, errors = _parse(sender, document)
        assert (event is None) == bool(errors)
        if event:
            assert event.key
            assert all(moment is None or moment.tzinfo for moment in (event.started_at, event.answered_at))
            repr(event).encode()  # nothing that a database refuses


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=st.binary(max_size=60), body=JSON)
def test_no_bytes_break_the_edge(house: House, sender: str, raw: bytes, body: object) -> None:
    """Any bytes are answered 200 or 400, as JSON and, of a CDR, as a form."""
    assert send(house, sender, raw).status_code in (200, 400)
    assert send(house, sender, json.dumps(body).encode()).status_code == 200
    if sender == "cdr":
        assert send(house, sender, raw, "application/x-www-form-urlencoded").status_code in (200, 400)
        assert send(house, sender, raw, "multipart/form-data; boundary=x").status_code in (200, 400)
