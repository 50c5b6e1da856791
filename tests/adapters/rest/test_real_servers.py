"""The mappings for Tryton and Roundup against the servers themselves."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.rest import RestAdapter
from middleware.errors import CRMAuthError
from middleware.lookup.verify import find_verified, written_forms
from middleware.model.call import CallRecord
from middleware.model.contact import Contact, ContactDraft
from middleware.model.phone import parse_number
from middleware.testing.conformance.samples import sample_call
from tests.adapters.rest.conftest import context
from tests.adapters.rest.mappings import shipped
from tests.adapters.rest.serve_roundup import PASSWORD
from tests.adapters.rest.serve_tryton import KEY

ADA = parse_number("+46701740605", "SE")
NOBODY = parse_number("+46701740699", "SE")


@pytest.fixture
def in_tryton(tryton: str, tmp_path: Path) -> RestAdapter:
    return shipped(tmp_path, "tryton", KEY, {"https://tryton.example": tryton})


@pytest.fixture
def in_roundup(roundup: str, tmp_path: Path) -> RestAdapter:
    return shipped(
        tmp_path, "roundup", PASSWORD, {"https://tracker.example": roundup, '"m8crm"\ntoken': '"admin"\ntoken'}
    )


@pytest.fixture(params=["in_tryton", "in_roundup"])
def adapter(request: pytest.FixtureRequest) -> RestAdapter:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, RestAdapter)
    return found


def find(adapter: RestAdapter, number: str = "+46701740605") -> Contact | None:
    wanted = parse_number(number, "SE")
    for form in written_forms(adapter, wanted):
        found = find_verified(adapter, wanted, form, context(adapter))[0]
        if found:
            return found[0]
    return None


def new_call() -> CallRecord:
    return replace(sample_call(ADA), key=f"m8crm-{uuid.uuid4().hex}", owner=None)


def test_the_caller_is_found_by_his_number(adapter: RestAdapter) -> None:
    """Somebody who is in the CRM is found with his numbers, and nobody else is."""
    ada = find(adapter)
    assert ada
    assert ada.display_name == "Ada Webb"
    assert ada.url
    assert find(adapter, str(NOBODY)) is None


def test_the_second_number_is_on_the_card(in_tryton: RestAdapter) -> None:
    """A party's other numbers and e-mail addresses come with it, whichever was searched for."""
    ada = find(in_tryton, "+4684650 0412")
    assert ada
    assert [each.number for each in ada.numbers] == ["+46 70 174 06 05", "+46 8 465 004 12"]
    assert [each.comment for each in ada.numbers] == ["mobile", "phone"]
    assert [each.address for each in ada.emails] == ["ada.webb@nordlys.example"]
    assert ada.updated_at
    assert abs(datetime.now(UTC) - ada.updated_at) < timedelta(days=1)


def test_a_logged_call_is_found_again_and_is_a_note(adapter: RestAdapter) -> None:
    """A call is written onto the contact, found by its key, and shown among his notes; another key is nobody's."""
    ada, call = find(adapter), new_call()
    assert ada
    assert adapter.find_logged_call(call, context(adapter)) is None
    logged = adapter.log_call(call, ada, context(adapter))
    assert adapter.find_logged_call(call, context(adapter)) == logged
    assert adapter.find_logged_call(replace(call, key=call.key[:-1]), context(adapter)) is None
    notes = list(adapter.find_notes(ada, context(adapter)))
    assert any(call.subject in f"{note.header} {note.body}" for note in notes)


def test_what_came_late_completes_the_record(in_roundup: RestAdapter) -> None:
    """A message of Roundup's is changed with the state that Roundup wants to be told."""
    ada, call = find(in_roundup), new_call()
    logged = in_roundup.log_call(call, ada, context(in_roundup))
    in_roundup.update_call(logged, replace(call, subject="It has a recording"), context(in_roundup))
    headers = [note.header for note in in_roundup.find_notes(ada, context(in_roundup))] if ada else []
    assert "It has a recording" in headers


def test_a_moment_is_read_as_it_was_written(in_roundup: RestAdapter) -> None:
    """What Roundup tells of a call's begin is when it began."""
    ada, call = find(in_roundup), new_call()
    assert ada
    in_roundup.log_call(call, ada, context(in_roundup))
    assert call.started_at in {note.timestamp for note in in_roundup.find_notes(ada, context(in_roundup))}


def test_a_stranger_becomes_a_party(in_tryton: RestAdapter) -> None:
    """Who is created is found by his number at once."""
    number = parse_number(f"+4670174{uuid.uuid4().int % 10_000:04}", "SE")
    created = in_tryton.create_contact(ContactDraft(number=number, display_name="Cy Day"), context(in_tryton))
    found = find(in_tryton, str(number))
    assert found
    assert found.id == created.id


def test_everybody_is_read_page_by_page(adapter: RestAdapter) -> None:
    """Whoever is in the CRM comes once, with and without a moment since when."""
    for since, least in ((None, 2), (datetime(2026, 1, 1, tzinfo=UTC), 2), (datetime(2100, 1, 1, tzinfo=UTC), 0)):
        ids = [contact.id for contact in adapter.iter_contacts(since, context(adapter))]
        assert len(ids) == len(set(ids))
        assert (len(ids) >= least) if least else not ids


def test_an_id_is_found_or_nobody(adapter: RestAdapter) -> None:
    """What a caller types is a contact's id, or nobody's, or no id at all."""
    ada = find(adapter)
    assert ada
    by_id = adapter.find_contact_by_id(ada.id, context(adapter))
    assert by_id
    assert by_id.display_name == "Ada Webb"
    assert adapter.find_contact_by_id("987654", context(adapter)) is None


def test_check_is_content_with_the_right_token_only(adapter: RestAdapter) -> None:
    """With the right credentials every request is answered; with wrong ones each says so."""
    assert all(finding.ok for finding in adapter.check(context(adapter)))
    from middleware.crm.settings import Secret

    wrong = RestAdapter(replace(adapter.settings, token=Secret("wrong")))
    assert not any(finding.ok for finding in wrong.check(context(wrong)))
    with pytest.raises(CRMAuthError):
        list(wrong.find_contacts(ADA, context(wrong)))
