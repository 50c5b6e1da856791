"""Signing in with an organisation's own account, at a real provider."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from middleware.app import create_app
from middleware.console.access import MOST_OF_ADDRESS
from middleware.console.openid import parse_roles
from middleware.console.roles import Role
from middleware.errors import ConfigError
from middleware.settings import load_settings
from tests.conftest import House
from tests.console.conftest import HOME, PASSWORD, Person, access_of
from tests.console.provider import CLIENT_ID, SECRET, Provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def trusting(console: House, provider: Provider) -> Iterator[House]:
    """Return a house whose console takes the provider's word."""
    settings = replace(
        load_settings(console.folder),
        console=True,
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=SECRET,
        oidc_roles="boss=hoster, staff=care, it=customer:nordlys",
    )
    house = House(console.folder, create_app(settings), console.customers)
    yield house
    house.parts.close()


def come_back(person: Person, provider: Provider, start: str = f"{HOME}/openid/start") -> Any:
    """Go to the provider and back, as a browser does."""
    sent = person.get(start)
    assert sent.status_code == 303, sent.text
    back = provider.authorize(sent.location)
    return person.get(back[back.index(HOME) :])


@pytest.mark.parametrize(
    ("roles", "shown"),
    [(["staff"], "oidc:olga <small>(care)"), ("it", "(customer nordlys)"), (["it", "boss"], "(hoster)")],
)
def test_a_claim_gives_the_role(trusting: House, provider: Provider, roles: Any, shown: str) -> None:
    """Whoever the provider vouches for comes in, with the role of the first value that he has."""
    provider.claims["roles"] = roles
    person = Person(trusting.app.test_client())
    assert f'href="{HOME}/openid/start' in person.get(f"{HOME}/sign-in").text
    answer = come_back(person, provider, f"{HOME}/openid/start?next={HOME}/lookup")
    assert (answer.status_code, answer.location) == (303, f"{HOME}/lookup")
    assert shown in person.get(HOME).text
    assert provider.asked["code_challenge_method"] == "S256"
    assert access_of(trusting).audit.entries()[0].action == "signed in by OpenID"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another-client"]},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"exp": int(time.time()) - 3600},
        {"nonce": "of another question"},
        {"nonce": None},
        {"sub": None},
        {"roles": ["somebody-else"]},
        {"roles": None},
        {"roles": {"staff": True}},
    ],
)
def test_a_token_that_is_not_for_us_now_is_refused(trusting: House, provider: Provider, claims: dict[str, Any]) -> None:
    """A token of another issuer, for others, too old, for another question, or without a role lets nobody in."""
    provider.claims |= claims
    person = Person(trusting.app.test_client())
    assert come_back(person, provider).status_code == 403
    assert person.get(HOME).status_code == 303
    assert access_of(trusting).sessions.list_sessions() == []


def test_a_token_that_somebody_else_signed_is_refused(trusting: House, provider: Provider) -> None:
    """Only the provider's own key counts."""
    provider.key = RSAKey.generate_key(2048, parameters={"kid": "1"})
    assert come_back(Person(trusting.app.test_client()), provider).status_code == 403


def test_a_provider_may_change_his_keys(trusting: House, provider: Provider) -> None:
    """A new key is fetched when it is needed."""
    assert come_back(Person(trusting.app.test_client()), provider).status_code == 303
    provider.key = provider.published = RSAKey.generate_key(2048, parameters={"kid": "1"})
    assert come_back(Person(trusting.app.test_client()), provider).status_code == 303


def test_an_answer_belongs_to_the_browser_that_asked(trusting: House, provider: Provider) -> None:
    """Nobody is signed in by an address that somebody else sends him."""
    asking, other = Person(trusting.app.test_client()), Person(trusting.app.test_client())
    back = provider.authorize(asking.get(f"{HOME}/openid/start").location)
    path = back[back.index(HOME) :]
    assert other.get(path).status_code == 403
    other.get(f"{HOME}/openid/start")
    assert other.get(path).status_code == 403
    assert asking.get(path + "x").status_code == 403, "another state"
    assert asking.get(path).status_code == 403, "the question was answered"


def test_a_provider_that_is_down_is_told(trusting: House, provider: Provider) -> None:
    """Without the provider the page says so, and accounts of the console still work."""
    provider.close()
    answer = trusting.app.test_client().get(f"{HOME}/openid/start")
    assert answer.status_code == 403
    assert "The provider" in answer.text
    assert 'name="password"' in answer.text


def test_there_is_none_unless_configured(console: House) -> None:
    """Without a provider there is no button and no address."""
    assert "openid" not in console.client.get(f"{HOME}/sign-in").text
    assert console.client.get(f"{HOME}/openid/start").status_code == 404
    assert console.client.get(f"{HOME}/openid/back").status_code == 404


def test_roles_are_read() -> None:
    """A value may have an equals sign in it, as a directory's names do."""
    assert parse_roles("cn=a=hoster, it=customer:nordlys") == {
        "cn=a": (Role.HOSTER, None),
        "it": (Role.CUSTOMER, "nordlys"),
    }


@pytest.mark.parametrize("text", ["", "hoster", "a=boss", "a=customer", "a=care:nordlys", "=hoster"])
def test_roles_that_cannot_be_stop_the_start(text: str) -> None:
    """A mapping that gives nobody a role, or an unknown one, is refused."""
    with pytest.raises(ConfigError):
        parse_roles(text)


def test_who_is_refused_is_written_down_and_then_unheard(trusting: House, provider: Provider) -> None:
    """The log has whoever did not come in, and from where; fifty of them, and the provider is asked no more."""
    provider.claims["roles"] = ["guest"]
    person = Person(trusting.app.test_client())
    assert come_back(person, provider).status_code == 403
    assert Person(trusting.app.test_client()).get(f"{HOME}/openid/back?state=x").status_code == 403, "is not counted"
    (entry,) = access_of(trusting).audit.entries()
    assert (entry.who, entry.action, entry.about) == ("(unknown)", "sign-in refused", "OpenID")
    for _ in range(MOST_OF_ADDRESS - 1):
        access_of(trusting).refuse_openid(entry.address)
    provider.claims["roles"] = ["staff"]
    assert come_back(person, provider).status_code == 429
    assert person.post(f"{HOME}/sign-in", name="ada", password=PASSWORD).status_code == 429


def test_a_person_who_says_no_is_told_so(trusting: House, provider: Provider) -> None:
    """Who presses Cancel at the provider reads that he was not let in, and nobody is asked for tokens."""
    person = Person(trusting.app.test_client())
    back = provider.authorize(person.get(f"{HOME}/openid/start").location)
    state = parse_qs(urlsplit(back).query)["state"][0]
    answer = person.get(f"{HOME}/openid/back", query_string={"error": "access_denied", "state": state})
    assert (answer.status_code, "did not let you in" in answer.text) == (403, True)


def test_a_name_is_kept_without_signs_that_no_screen_shows(trusting: House, provider: Provider) -> None:
    """What steers a terminal, and what PostgreSQL cannot keep, is left out of a name that the provider tells."""
    provider.claims["preferred_username"] = "ol\x1b[2Jga\x00"
    come_back(Person(trusting.app.test_client()), provider)
    assert access_of(trusting).audit.entries()[0].who == "oidc:ol[2Jga"


def test_a_place_too_long_for_a_cookie_is_forgotten(trusting: House, provider: Provider) -> None:
    """Whoever wanted to go to an address of many kilobytes comes in all the same."""
    answer = come_back(Person(trusting.app.test_client()), provider, f"{HOME}/openid/start?next={HOME}/x{'x' * 5000}")
    assert (answer.status_code, answer.location) == (303, HOME)


def test_a_provider_that_hangs_takes_few_threads(trusting: House) -> None:
    """While some wait for the provider whoever comes on top is refused at once, so that events have threads."""
    crowd = trusting.app.extensions["m8crm.console.openid"]._crowd
    held = 0
    while crowd.acquire(blocking=False):
        held += 1
    answer = trusting.app.test_client().get(f"{HOME}/openid/start")
    assert (answer.status_code, "Too many people sign in" in answer.text) == (403, True)
    assert 1 <= held <= 4
    crowd.release()
    assert trusting.app.test_client().get(f"{HOME}/openid/start").status_code == 303
    assert trusting.app.test_client().get(f"{HOME}/openid/start").status_code == 303, "it was given back"
