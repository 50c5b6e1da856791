"""The rest adapter sends what a mapping says, and reads what it names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import responses

from adapters.rest import SHAPES, RestAdapter, RestSettings
from middleware.crm.base import OPTIONAL_METHODS
from middleware.crm.settings import Secret
from middleware.errors import (
    CRMAuthError,
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMUnavailableError,
    RateLimitedError,
    UnsupportedError,
)
from middleware.model.contact import Contact
from middleware.model.phone import parse_number
from middleware.testing.conformance.samples import sample_call
from tests.adapters.rest.conftest import context

NUMBER = parse_number("+46701740605", "SE")
CALL = sample_call(NUMBER)
ADA = Contact(id="7", display_name="Ada")
URL = "https://crm.example/api"
FIND: dict[str, Any] = {"path": "people", "query": {"q": "{suffix}"}, "fields": {"id": "id", "number": "phone"}}
LOG: dict[str, Any] = {"path": "calls", "json": {"key": "{key}", "who": "{contact_id}"}, "fields": {"id": "id"}}


def made(requests: dict[str, Any] | None = None, **settings: Any) -> RestAdapter:
    return RestAdapter(RestSettings(url=URL, requests={"find_contacts": FIND, **(requests or {})}, **settings))


def sent(place: int = -1) -> Any:
    return responses.calls[place].request


def found(adapter: RestAdapter, method: str = "find_contacts", asked: Any = NUMBER) -> list[Any]:
    return list(getattr(adapter, method)(asked, context(adapter)))


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"auth": "bearer"}, ("Authorization", "Bearer t0ken")),
        ({"auth": "basic", "user": "ada"}, ("Authorization", "Basic YWRhOnQwa2Vu")),
        ({"auth": "header", "auth_name": "X-API-Key"}, ("X-API-Key", "t0ken")),
        ({"auth": "header", "auth_name": "Authorization", "auth_prefix": "Token "}, ("Authorization", "Token t0ken")),
    ],
)
@responses.activate
def test_requests_are_signed_as_the_mapping_says(settings: dict[str, Any], header: tuple[str, str]) -> None:
    """Each way to sign puts the token where the CRM looks for it."""
    responses.get(f"{URL}/people", json=[])
    found(made(**settings, token=Secret("t0ken")))
    assert sent().headers[header[0]] == header[1]


@responses.activate
def test_a_token_in_the_address_is_added_to_the_query() -> None:
    """A CRM that takes its key nowhere else gets it there, beside what is asked."""
    responses.get(f"{URL}/people", json=[])
    found(made(auth="query", auth_name="api key", token=Secret("t0k/en")))
    assert sent().url == f"{URL}/people?q=01740605&api+key=t0k%2Fen"


@responses.activate
def test_a_login_brings_the_token_and_is_repeated_when_it_expires() -> None:
    """User and password are sent once; a token that is refused later is fetched anew, and the request sent again."""
    login = {"path": "login", "json": {"user": "{user}", "password": "{token}"}, "fields": {"token": "session.token"}}
    for token in ("one", "two"):
        responses.post(f"{URL}/login", json={"session": {"token": token}})
    responses.get(f"{URL}/people", json=[])
    responses.get(f"{URL}/people", status=401)
    responses.get(f"{URL}/people", json=[{"id": 7, "phone": "070"}])
    signed: dict[str, Any] = {"auth": "login", "auth_name": "Authorization", "auth_prefix": "Session ", "user": "m8"}
    adapter = made({"login": login}, token=Secret("pass"), **signed)
    assert found(adapter) == []
    assert [contact.id for contact in found(adapter)] == ["7"]
    assert json.loads(sent(0).body) == {"user": "m8", "password": "pass"}
    assert [call.request.headers.get("Authorization") for call in responses.calls] == [
        None,
        "Session one",
        "Session one",
        None,
        "Session two",
    ]


@responses.activate
def test_several_numbers_and_words_are_read() -> None:
    """A list is several numbers, each with its comment, or words of a name; a link has the id as one segment."""
    fields = {
        "id": "id",
        "display_name": "[first, last]",
        "number": "phones[].no",
        "number_comment": "phones[].kind",
        "number_2": "fax",
        "updated_at": "at",
        "company": "firm.name",
    }
    person = {"id": "a/b", "first": "Ada", "last": None, "phones": [{"no": "070", "kind": "Mobile"}, {"no": "08"}]}
    answer = {"items": [{**person, "fax": "09", "at": [2026, 1, 31, 9, 30, 0], "firm": None}]}
    responses.get(f"{URL}/people", json=answer)
    mapping = {**FIND, "records": "items", "fields": fields, "link": "https://crm.example/#/{id}"}
    (ada,) = found(made({"find_contacts": mapping}, timezone="Europe/Stockholm"))
    assert (ada.display_name, ada.company, ada.url) == ("Ada", None, "https://crm.example/#/a%2Fb")
    assert [(each.number, each.comment) for each in ada.numbers] == [("070", "Mobile"), ("08", None), ("09", None)]
    assert ada.updated_at == datetime(2026, 1, 31, 8, 30, tzinfo=UTC)


@responses.activate
def test_several_requests_find_one_contact() -> None:
    """A CRM with a search for each phone field is asked for all; who is in several answers comes once."""
    responses.get(f"{URL}/by-phone", json=[{"id": 7, "phone": "070"}])
    responses.get(f"{URL}/by-mobile", json=[{"id": 7, "phone": "08"}, {"id": 8, "phone": "09"}])
    both = [{**FIND, "path": "by-phone"}, {**FIND, "path": "by-mobile"}]
    assert [contact.id for contact in found(made({"find_contacts": both}))] == ["7", "8"]


@responses.activate
def test_the_number_is_searched_for_as_the_crm_writes_it() -> None:
    """The forms of the mapping are those that the middleware asks in, one after the other."""
    responses.get(f"{URL}/people", json=[])
    written = {**FIND, "query": {"q": "{written}", "all": ["{e164}", "{national}"]}}
    adapter = made({"find_contacts": written}, number_forms=["national", "e164"])
    assert adapter.number_forms == ("national", "e164")
    list(adapter.find_contacts(NUMBER, replace(context(adapter), written=NUMBER.national)))
    assert sent().url == f"{URL}/people?q=070-174+06+05&all=%2B46701740605&all=070-174+06+05"


@responses.activate
def test_json_in_a_query_is_json() -> None:
    """A condition that is JSON is built of the mapping's, so that no value ends it, plain or in base64."""
    responses.get(f"{URL}/people", json=[])
    asked = {"path": "people", "query_json": {"q": {"no": "{raw}"}}, "query_base64": {"d": ["{raw}"]}}
    hostile = replace(NUMBER, raw='7"}, {"all": true')
    found(made({"find_contacts": {**asked, "fields": FIND["fields"]}}), asked=hostile)
    assert json.loads(sent().params["q"]) == {"no": hostile.raw}
    assert sent().params["d"] == "WyI3XCJ9LCB7XCJhbGxcIjogdHJ1ZSJd"


@responses.activate
def test_a_call_is_written_in_the_crm_s_words() -> None:
    """Our words are turned into the CRM's own, of any type; one that is not listed stays."""
    responses.post(f"{URL}/calls", json={"id": 77, "url": "https://crm.example/77"}, status=201)
    body = {"in": "{direction}", "how": "{outcome}", "who": "{contact_id:number}", "at": "{started_at:seconds}"}
    mapping = {**LOG, "json": {**body, "key": "{key}", "owner": "{owner}"}, "fields": {"id": "id", "url": "url"}}
    adapter = made({"log_call": mapping}, words={"direction": {"inbound": True}, "outcome": {"missed": "no"}})
    logged = adapter.log_call(replace(CALL, owner=None), ADA, context(adapter))
    assert (logged.external_id, logged.url) == ("77", "https://crm.example/77")
    at = int(CALL.started_at.timestamp())
    assert json.loads(sent().body) == {"in": True, "how": "answered", "who": 7, "at": at, "key": CALL.key}


@responses.activate
def test_a_form_is_sent_as_one() -> None:
    """A CRM that wants a form gets one, quoted."""
    responses.post(f"{URL}/calls", json={"id": 77})
    mapping = {"path": "calls", "form": {"text": "{subject} & co", "on": True}, "fields": {"id": "id"}}
    made_one = made({"log_call": mapping})
    made_one.log_call(CALL, ADA, context(made_one))
    assert sent().body == "text=Incoming+call+from+Ada+Webb+%26+co&on=true"


@responses.activate
def test_a_call_of_nobody_has_a_request_of_its_own_or_is_refused() -> None:
    """Without a contact the request for that is sent; where there is none, nothing is sent that needs him."""
    responses.post(f"{URL}/leads", json={"id": 1})
    refusing = made({"log_call": LOG})
    with pytest.raises(UnsupportedError, match="needs a contact"):
        refusing.log_call(CALL, None, context(refusing))
    able = made({"log_call": LOG, "log_call_of_nobody": {"path": "leads", "fields": {"id": "id"}}})
    assert able.log_call(CALL, None, context(able)).external_id == "1"


@responses.activate
def test_a_call_that_is_there_already_is_found() -> None:
    """A CRM that refuses a second call of the same key has the first one; one that it lacks is a refusal."""
    responses.post(f"{URL}/calls", status=409)
    responses.get(f"{URL}/calls", json=[{"id": 1, "key": CALL.key + "0"}, {"id": 2, "key": f"({CALL.key})"}])
    responses.get(f"{URL}/calls", json=[])
    find = {"path": "calls", "query": {"key": "{key}"}, "fields": {"id": "id", "key": "key"}}
    adapter = made({"log_call": LOG, "find_logged_call": find})
    assert adapter.log_call(CALL, ADA, context(adapter)).external_id == "2"
    with pytest.raises(CRMRejectedError):
        adapter.log_call(CALL, ADA, context(adapter))


@responses.activate
def test_what_comes_first_is_sent_along() -> None:
    """A search for ids comes before the search for their records; where it finds none, nobody is asked for."""
    first = {"path": "numbers", "query": {"q": "{e164}"}, "fields": {"ids": "[].person"}}
    mapping = {"path": "people", "query": {"ids": "{ids}"}, "fields": FIND["fields"], "first": first}
    responses.get(f"{URL}/numbers", json=[{"person": 7}, {"person": 8}])
    responses.get(f"{URL}/numbers", json=[])
    responses.get(f"{URL}/people", json=[{"id": 7, "phone": "070"}])
    adapter = made({"find_contacts": mapping})
    assert [contact.id for contact in found(adapter)] == ["7"]
    assert sent().url == f"{URL}/people?ids=7&ids=8"
    assert found(adapter) == []
    assert len(responses.calls) == 3


@pytest.mark.parametrize(
    ("mapping", "pages"),
    [
        ({"query": {"p": "{page}"}}, [{"p": "1"}, {"p": "2"}, {"p": "3"}]),
        ({"query": {"p": "{page_index}"}}, [{"p": "0"}, {"p": "1"}, {"p": "2"}]),
        ({"query": {"from": "{offset}"}}, [{"from": "0"}, {"from": "1"}, {"from": "2"}]),
        ({"query": {"after": "{next}"}, "next": "next"}, [{}, {"after": "b"}]),
        ({"query": {"a": "1"}, "next": "link"}, [{"a": "1"}, {"token": "b"}]),
        ({}, [{}]),
    ],
)
@responses.activate
def test_pages_are_followed_to_the_last(mapping: dict[str, Any], pages: list[dict[str, str]]) -> None:
    """Numbered pages, offsets, cursors and links each lead to everybody, once."""
    for person, following in ((7, "b"), (8, None)):
        link = "/api/people?token=b" if following else None
        answer = {"items": [{"id": person, "phone": "070"}], "next": following, "link": link}
        responses.get(f"{URL}/people", json=answer)
    responses.get(f"{URL}/people", json={"items": []})
    everybody = {"path": "people", "records": "items", "fields": FIND["fields"], **mapping}
    adapter = made({"iter_contacts": everybody})
    ids = [contact.id for contact in adapter.iter_contacts(None, context(adapter))]
    assert ids == ["7", "8"][: len(pages)]
    assert [sent(place).params for place in range(len(responses.calls))] == pages


@responses.activate
def test_a_page_elsewhere_is_not_followed() -> None:
    """An answer cannot send our credentials to another host."""
    responses.get(f"{URL}/people", json={"items": [{"id": 7, "phone": "070"}], "link": "//evil.example/people"})
    everybody = {"path": "people", "records": "items", "fields": FIND["fields"], "next": "link"}
    adapter = made({"iter_contacts": everybody}, auth="bearer", token=Secret("t"))
    with pytest.raises(CRMRejectedError, match="not on this CRM's host"):
        list(adapter.iter_contacts(None, context(adapter)))
    assert len(responses.calls) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": {"code": 401, "message": "who?"}}, CRMAuthError),
        ({"error": {"code": 429, "message": "slow"}}, RateLimitedError),
        ({"error": {"code": 503, "message": "later"}}, CRMUnavailableError),
        ({"error": {"code": 1, "message": "no"}}, CRMRejectedError),
        ({"data": "?"}, CRMResponseError),
    ],
)
@responses.activate
def test_an_error_that_is_a_200_is_told(answer: Any, kind: type[CRMError]) -> None:
    """What the mapping calls an error is none of "nobody found", with the vendor's words."""
    errors = {
        "auth": "error && error.code == `401` && error.message",
        "rate_limited": "error.code == `429` && error.message",
        "unavailable": "error.code == `503` && error.message",
        "rejected": "error.message",
    }
    responses.get(f"{URL}/people", json=answer)
    with pytest.raises(CRMError) as caught:
        found(made(errors=errors))
    assert type(caught.value) is kind
    assert caught.value.vendor_text == answer.get("error", {}).get("message")


@responses.activate
def test_a_task_is_created_once() -> None:
    """The CRM is asked for the task's key before, and a task that is there is not written again."""
    create = {"path": "tasks", "json": {"text": "{text}", "key": "{task_key}"}}
    find = {"path": "tasks", "query": {"key": "{task_key}"}, "fields": {"id": "id", "key": "key"}}
    adapter = made({"create_task": create, "find_task": find})
    responses.get(f"{URL}/tasks", json=[])
    responses.post(f"{URL}/tasks", body="")
    adapter.create_task(ADA, "Call back", CALL, context(adapter))
    key = CALL.task_key("Call back")
    assert json.loads(sent().body) == {"text": "Call back", "key": key}
    responses.replace(responses.GET, f"{URL}/tasks", json=[{"id": 1, "key": key}])
    adapter.create_task(ADA, "Call back", CALL, context(adapter))
    assert [call.request.method for call in responses.calls] == ["GET", "POST", "GET"]


def test_what_has_a_request_can_be_done() -> None:
    """The requests are the capabilities: nothing is declared twice, and each is one of the middleware's methods."""
    adapter = made({"log_call": LOG}, create_links={"New note": "https://crm.example/{id}/note"})
    assert {name for name in OPTIONAL_METHODS if adapter.can(name)} == {"log_call", "check", "create_links"}
    assert next(iter(adapter.create_links(replace(ADA, id="7/8")))).url == "https://crm.example/7%2F8/note"
    assert set(SHAPES) - set(OPTIONAL_METHODS) == {"login", "find_contacts", "log_call_of_nobody", "find_task"}


@responses.activate
def test_an_expression_that_meets_another_type_is_told_by_its_place() -> None:
    """What an expression cannot read is an error that names it and no value."""
    responses.get(f"{URL}/people", json=[{"id": "secret", "phone": 5}])
    mapping = {**FIND, "fields": {"id": "id", "number": "join('', phone)"}}
    with pytest.raises(CRMResponseError, match=r"requests\.find_contacts\.fields\.number") as caught:
        found(made({"find_contacts": mapping}))
    assert "secret" not in str(caught.value)


@responses.activate
def test_pages_without_end_are_left() -> None:
    """A CRM that sends the same page for every number, or the same cursor for ever, is left with what it brought."""
    responses.get(f"{URL}/people", json=[{"id": 7, "phone": "070"}])
    numbered = {"path": "people", "query": {"p": "{page}"}, "fields": FIND["fields"]}
    adapter = made({"iter_contacts": numbered})
    assert [contact.id for contact in adapter.iter_contacts(None, context(adapter))] == ["7"]
    assert len(responses.calls) == 2
    for person in (1, 2, 3):
        responses.get(f"{URL}/all", json={"items": [{"id": person, "phone": "070"}], "next": "b"})
    by_cursor = {**numbered, "path": "all", "query": {"p": "{next}"}, "records": "items", "next": "next"}
    adapter = made({"iter_contacts": by_cursor})
    assert [contact.id for contact in adapter.iter_contacts(None, context(adapter))] == ["1", "2"]


@responses.activate
def test_a_status_that_tells_the_error_is_believed() -> None:
    """What the mapping reads out of answers of 200 changes nothing about a 503, which is tried again."""
    responses.get(f"{URL}/people", json={"error": "no"}, status=503)
    with pytest.raises(CRMUnavailableError):
        found(made(errors={"rejected": "error"}))


@responses.activate
def test_half_a_sign_is_no_fault() -> None:
    """A name that was cut in the middle of an emoji is sent, in a path, a query and a body."""
    responses.post(re.compile(f"{URL}/calls/.*"), json={"id": 1})
    mapping = {**LOG, "path": "calls/{subject}", "query": {"q": "{subject}"}, "json": {"text": "{subject}"}}
    adapter = made({"log_call": mapping})
    adapter.log_call(replace(CALL, subject="Hi \ud83d"), ADA, context(adapter))
    assert json.loads(sent().body) == {"text": "Hi ?"}


@responses.activate
def test_a_longer_key_is_another_call_s() -> None:
    """Whatever stands around a key in a text, only the whole key is this call's."""
    answers = [
        {"id": place, "key": text} for place, text in enumerate((f"x{CALL.key}", f"{CALL.key}-1", f"\n{CALL.key}."))
    ]
    responses.get(f"{URL}/calls", json=answers)
    find = {"path": "calls", "query": {"key": "{key}"}, "fields": {"id": "id", "key": "key"}}
    adapter = made({"log_call": LOG, "find_logged_call": find})
    logged = adapter.find_logged_call(CALL, context(adapter))
    assert logged
    assert logged.external_id == "2"
