"""``/<customer-id>/cdr``: any method, any form, and a token that is never kept."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from middleware.receivers.form import FORM
from middleware.receivers.registry import RECEIVERS
from tests.conftest import House
from tests.web.sending import log_anew, sample, secret_of, stored_type

FLAT = {"cdr[id]": "3f2b9a52-0c6e-4be0", "cdr[cliNum]": "+46701740605", "cdr[dir]": "2"}


def stored(house: House) -> list[Any]:
    return house.parts.inbox.list_events()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("key", ["token", "Token", "SECRET"])
@pytest.mark.parametrize("custom", ["customData", "customdata"])
@pytest.mark.parametrize("as_text", [True, False])
def test_token_of_custom_data_opens_and_is_not_kept(
    house: House, method: str, key: str, custom: str, as_text: bool
) -> None:
    """The secret may stand in the static payload data, and is taken out before anything is stored."""
    secret = secret_of(house, "cdr")
    data = {"hook": "post call", key: secret}
    body = {**sample("cdr"), custom: json.dumps(data) if as_text else data}
    if custom != "customData":
        del body["customData"]
    assert house.client.open("/nordlys/cdr", method=method, json=body).get_json()["status"] == "accepted"
    (event,) = stored(house)
    assert secret.encode() not in event.raw
    assert b"post call" in event.raw
    assert RECEIVERS["cdr"].parse_stored(event.raw, stored_type(house)).facts["hook"] == "post call"


@pytest.mark.parametrize("where", ["url", "customData[token]", "customData.Secret", "token"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("multipart", [True, False])
def test_form_and_query_are_stored_without_the_token(house: House, where: str, method: str, multipart: bool) -> None:
    """A form or query string opens with its token wherever it stands, and is kept without it."""
    secret = secret_of(house, "cdr")
    pairs = FLAT if where == "url" else {**FLAT, where: secret}
    query = {"token": secret} if where == "url" else {}
    if method == "GET":
        answer = house.client.get("/nordlys/cdr", query_string={**query, **pairs})
    else:
        content_type = "multipart/form-data" if multipart else FORM
        answer = house.client.open(
            "/nordlys/cdr", method=method, query_string=query, data=pairs, content_type=content_type
        )
    assert answer.get_json()["status"] == "accepted"
    (event,) = stored(house)
    assert secret.encode() not in event.raw
    parsed = RECEIVERS["cdr"].parse_stored(event.raw, stored_type(house))
    assert (parsed.key, parsed.from_number) == (FLAT["cdr[id]"], FLAT["cdr[cliNum]"])
    if where in ("url", "token"):
        assert stored_type(house) == FORM
        assert dict(parse_qsl(event.raw.decode())) == FLAT


PAIRS = [{"key": "hook", "value": "post call"}, {"Key": "Token", "Value": "SECRET"}]
LISTS = {
    "pairs": {"customData": PAIRS},
    "pairs as text": {"customData": json.dumps(PAIRS)},
    "pairs as texts": {"customData": [json.dumps(pair) for pair in PAIRS]},
    "one pair": {"customData": PAIRS[1]},
    "objects": {"customData": [{"hook": "post call"}, {" secret ": "SECRET"}]},
}
FORMS = {
    "numbered": [
        ("customData[0][key]", "hook"),
        ("customData[0][value]", "post call"),
        ("customData[1][key]", "token"),
        ("customData[1][value]", "SECRET"),
    ],
    "dotted": [("customData.0.value", "SECRET"), ("customData.0.key", "token"), ("customData.1.hook", "post call")],
    "unnumbered": [
        ("customData[][key]", "token"),
        ("customData[][value]", "SECRET"),
        ("customData[][key]", "hook"),
        ("customData[][value]", "post call"),
    ],
    "text": [("customData", json.dumps(PAIRS))],
    "texts": [("customData[]", json.dumps(pair)) for pair in PAIRS],
}


@pytest.mark.parametrize("shape", [*LISTS, *FORMS])
def test_token_in_a_list_of_keys_and_values_is_not_kept(
    house: House, shape: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of key/value objects opens like an object, and its token reaches neither the database nor a log."""
    log_anew(monkeypatch)
    secret = secret_of(house, "cdr")
    if shape in LISTS:
        body = {"cdr": {"id": "c-1"}, **json.loads(json.dumps(LISTS[shape]).replace("SECRET", secret))}
        answer = house.client.post("/nordlys/cdr", json=body)
    else:
        pairs = [("cdr[id]", "c-1"), *((name, value.replace("SECRET", secret)) for name, value in FORMS[shape])]
        answer = house.client.post("/nordlys/cdr", data=urlencode(pairs), content_type=FORM)
    assert answer.get_json()["status"] == "accepted"
    (event,) = stored(house)
    facts = RECEIVERS["cdr"].parse_stored(event.raw, stored_type(house)).facts
    assert facts == ({} if shape == "one pair" else {"hook": "post call"})
    house.deliver()
    files = b"".join(file.read_bytes() for file in house.folder.rglob("*.db*"))
    assert event.raw in files
    assert secret.encode() not in files
    assert secret not in "".join(capsys.readouterr())


def test_wrong_token_in_the_data_is_refused(house: House) -> None:
    """A wrong token is 403, none is 401, whatever the shape; a HEAD is no call."""
    body = {**sample("cdr"), "customData": {"token": "nope"}}
    assert house.client.post("/nordlys/cdr", json=body).status_code == 403
    assert house.client.post("/nordlys/cdr", json={**body, "customData": {"token": None}}).status_code == 403
    assert house.client.post("/nordlys/cdr", json={**body, "customData": ["token"]}).status_code == 401
    assert house.client.get("/nordlys/cdr", query_string=FLAT).status_code == 401
    assert house.client.post("/nordlys/cdr", data=b"nonsense").status_code == 401
    secret = secret_of(house, "cdr")
    assert house.client.head("/nordlys/cdr", query_string={"token": secret, **FLAT}).status_code == 405
    assert stored(house) == []


def test_the_url_decides_before_the_data(house: House) -> None:
    """A wrong token in the URL is not made good by a right one in the data; a right one is enough."""
    secret = secret_of(house, "cdr")
    for url, data, status in (("nope", secret, 403), (secret, "nope", 200)):
        body = {**sample("cdr"), "customData": {"token": data}}
        answer = house.client.post("/nordlys/cdr", query_string={"token": url}, json=body)
        assert answer.status_code == status
    assert [b"nope" in event.raw for event in stored(house)] == [False]


def test_too_many_fields_are_refused(house: House) -> None:
    """A form of more fields than any CDR has is 400."""
    raw = urlencode({f"cdr[f{i}]": "1" for i in range(1001)}).encode()
    path = f"/nordlys/cdr?token={secret_of(house, 'cdr')}"
    assert house.client.post(path, data=raw, content_type=FORM).status_code == 400


def test_part_of_a_form_without_a_name_breaks_nothing(house: House) -> None:
    """A multipart form with a part that has no name is read like any other."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in FLAT.items()]
    parts.append("Content-Disposition: form-data\r\n\r\nnameless")
    raw = "".join(f"--x\r\n{part}\r\n" for part in parts).encode() + b"--x--\r\n"
    path = f"/nordlys/cdr?token={secret_of(house, 'cdr')}"
    answer = house.client.post(path, data=raw, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "accepted")


def test_same_call_again_with_more_is_an_update(house: House) -> None:
    """A CDR that comes again with a recording is not lost as a duplicate."""
    path = f"/nordlys/cdr?token={secret_of(house, 'cdr')}"
    body = sample("cdr")
    first = house.client.post(path, json=body).get_json()
    body["cdr"]["recordingIds"] = ["r-1"]
    second = house.client.post(path, json=body).get_json()
    assert (first["status"], second["status"]) == ("accepted", "accepted")
    assert len(stored(house)) == 2


def test_deep_names_are_flat_names() -> None:
    """A name of too many steps is kept as it is, and steps that collide lose nothing."""
    deep = "cdr" + "[a]" * 50
    raw = urlencode([(deep, "1"), ("cdr", "x"), ("cdr[id]", "7"), ("cdr[id][a]", "8")]).encode()
    receiver = RECEIVERS["cdr"]
    received = receiver.receive(raw, FORM)
    assert isinstance(received.document, dict)
    assert received.document[deep] == "1"
    assert received.document["cdr"] == {"": "x", "id": {"": "7", "a": "8"}}
