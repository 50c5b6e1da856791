"""Who comes in, and who does not."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from threading import BoundedSemaphore
from typing import Any

import pytest

from middleware.app import create_app
from middleware.console.sessions import IDLE
from middleware.errors import StorageError
from middleware.settings import load_settings
from tests.conftest import House
from tests.console.conftest import HOME, PASSWORD, Person, SignIn, access_of, csrf_of


def test_the_console_is_off_unless_configured(house: House) -> None:
    """Without the setting there is no page."""
    assert house.client.get(HOME).status_code == 404
    assert house.client.get(f"{HOME}/sign-in").status_code == 404


def test_every_view_says_who_may_see_it(console: House) -> None:
    """No view of the console is without a role, and none but those for signing in is for everybody."""
    views: dict[str, Any] = {
        rule.endpoint: console.app.view_functions[rule.endpoint]
        for rule in console.app.url_map.iter_rules()
        if rule.rule.startswith(HOME)
    }
    assert len(views) > 5
    without = {name for name, view in views.items() if not hasattr(view, "console_roles")}
    assert not without
    assert {name for name, view in views.items() if not view.console_roles} == {
        "console.signing_in.page",
        "console.signing_in.sign_in",
        "console.signing_in.link",
        "console.signing_in.enter",
        "console.openid.start",
        "console.openid.back",
        "console.static.file",
        "console.nowhere.page",
    }


def test_a_stranger_is_asked_to_sign_in_and_comes_back(console: House) -> None:
    """Who has not signed in is shown the form, and then what he asked for."""
    person = Person(console.app.test_client())
    asked = person.get(f"{HOME}?a=1")
    assert asked.status_code == 303
    answer = person.post(f"{HOME}/sign-in", name="ada", password=PASSWORD, next=f"{HOME}?a=1")
    assert (answer.status_code, answer.location) == (303, f"{HOME}?a=1")
    assert "Sign out" in person.get(HOME).text


@pytest.mark.parametrize("place", ["https://evil.example", "//evil.example", "/-/consolex", f"{HOME}/\\evil", ""])
def test_nobody_is_sent_elsewhere(console: House, place: str) -> None:
    """After signing in nobody lands outside of the console."""
    answer = Person(console.app.test_client()).post(f"{HOME}/sign-in", name="ada", password=PASSWORD, next=place)
    assert answer.location == HOME


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("", ""), ("ada", "x" * 5000)])
def test_a_wrong_name_and_a_wrong_password_look_alike(console: House, name: str, password: str) -> None:
    """Nobody learns which accounts there are."""
    person = Person(console.app.test_client())
    answer = person.post(f"{HOME}/sign-in", name=name, password=password)
    assert answer.status_code == 403
    assert "Name or password is wrong." in answer.text
    assert person.get(HOME).status_code == 303


def test_a_session_has_a_new_id(console: House) -> None:
    """The cookie of before signing in is worth nothing afterwards, so that nobody can plant one."""
    person = Person(console.app.test_client())
    person.token()
    before = person.client.get_cookie("m8crm", path=HOME)
    person.post(f"{HOME}/sign-in", name="ada", password=PASSWORD)
    after = person.client.get_cookie("m8crm", path=HOME)
    assert before
    assert after
    assert before.value != after.value
    assert after.http_only
    assert after.same_site == "Lax"
    assert access_of(console).sessions.find(before.value) is None


def test_a_cookie_goes_by_https_alone_where_there_is_https(console: House) -> None:
    """With a public address of https the cookie is this host's own and is sent by https only."""
    settings = load_settings(console.folder)
    object.__setattr__(settings, "public_url", "https://crm.example.com")
    object.__setattr__(settings, "console", True)
    app = create_app(settings)
    cookie = app.test_client().get(f"{HOME}/sign-in").headers["Set-Cookie"]
    app.extensions["m8crm"].close()
    assert cookie.startswith("__Host-m8crm=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))


def test_a_form_of_another_site_does_nothing(console: House, signed_in: SignIn) -> None:
    """A POST without the token of our own page is refused, by form and by header, and one with it is not."""
    person = signed_in()
    for data in ({}, {"csrf": "0" * 64}, {"csrf": "é"}):
        assert person.client.post(f"{HOME}/sign-out", data=data).status_code == 400
    other = signed_in("cleo").token()
    assert person.client.post(f"{HOME}/sign-out", data={"csrf": other}).status_code == 400
    assert "Sign out" in person.get(HOME).text
    by_header = person.client.post(f"{HOME}/sign-out", headers={"X-Csrf-Token": person.token()})
    assert by_header.status_code == 303
    assert person.get(HOME).status_code == 303


def test_signing_out_ends_the_session(console: House, signed_in: SignIn) -> None:
    """A cookie that somebody copied is worth nothing after signing out."""
    person = signed_in()
    cookie = person.client.get_cookie("m8crm", path=HOME)
    assert cookie
    person.post(f"{HOME}/sign-out")
    assert access_of(console).sessions.find(cookie.value) is None


def test_wrong_passwords_are_counted(console: House, signed_in: SignIn) -> None:
    """After ten wrong ones the right password is not heard from there, and is from elsewhere."""
    person = Person(console.app.test_client())
    token = person.token()

    def attempt(password: str, address: str) -> int:
        form = {"csrf": token, "name": "ada", "password": password}
        headers = {"X-Forwarded-For": address}
        return person.client.post(f"{HOME}/sign-in", data=form, headers=headers).status_code

    assert [attempt("wrong", "203.0.113.7") for _ in range(10)] == [403] * 10
    assert attempt(PASSWORD, "203.0.113.7") == 429
    assert attempt(PASSWORD, "203.0.113.8") == 303


def test_a_name_without_an_account_is_not_written_down(console: House) -> None:
    """What somebody typed into the wrong field is in no log."""
    Person(console.app.test_client()).post(f"{HOME}/sign-in", name="my secret password", password="x")
    (entry,) = access_of(console).audit.entries()
    assert (entry.action, entry.who) == ("sign-in refused", "(unknown)")


def test_a_customers_link_only_reads(console: House) -> None:
    """Who comes by a link sees the one customer, changes nothing, and is out when the link is revoked."""
    link, text = access_of(console).links.make("nordlys", "ada")
    person = Person(console.app.test_client())
    assert person.get(HOME).status_code == 303
    assert "Open" in person.get(f"{HOME}/link/{text}").text
    assert person.get(HOME).status_code == 303, "looking at the link is not coming in"
    assert person.post(f"{HOME}/link/{text}").status_code == 303
    assert "reads only" in person.get(HOME).text
    access_of(console).links.revoke(link.id)
    assert person.get(HOME).status_code == 303
    assert person.get(f"{HOME}/link/{text}").status_code == 404
    assert person.post(f"{HOME}/link/{text}").status_code == 404


def test_a_made_up_link_opens_nothing(console: House) -> None:
    """A link that we have not signed is no address."""
    link, text = access_of(console).links.make("nordlys", "ada")
    person = Person(console.app.test_client())
    for wrong in (link.id, ("a" if text[0] != "a" else "b") + text[1:], "x", f'"{link.id}"'):
        assert person.get(f"{HOME}/link/{wrong}").status_code == 404


def test_a_page_that_asks_by_itself_keeps_no_session_alive(console: House, signed_in: SignIn) -> None:
    """A page left open, which asks again and again, is nobody at the screen: the session ends after its hour."""
    person, sessions = signed_in(), access_of(console).sessions
    moment = console.parts.inbox.now()
    sessions._now = lambda: moment
    for path in (HOME, f"{HOME}/calls"):
        moment += IDLE - timedelta(minutes=5)
        assert person.get(path).status_code == 200, "a person's page begins the hour anew"
    for _ in range(6):
        moment += timedelta(minutes=11)
        answer = person.get(HOME, headers={"HX-Request": "true", "X-Polled": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, f"{HOME}/sign-in")


def test_what_asks_by_itself_says_so(console: House) -> None:
    """Every part of a page that a browser fetches every some seconds says that it is no person."""
    environment, tags = console.app.jinja_env, []
    for name in environment.list_templates(filter_func=lambda name: name.startswith("console/")):
        assert environment.loader
        text, _, _ = environment.loader.get_source(environment, name)
        tags += [tag for tag in re.findall(r"<[^\n]*?hx-trigger[^\n]*", text) if 'hx-trigger="every' in tag]
    assert len(tags) >= 4
    assert all("""hx-headers='{"X-Polled": "true"}'""" in tag for tag in tags)


def test_signing_in_again_ends_the_older_session(console: House, signed_in: SignIn) -> None:
    """A browser has one session: who opens a customer's link while signed in leaves none behind."""
    person = signed_in()
    _, text = access_of(console).links.make("nordlys", "ada")
    person.post(f"{HOME}/link/{text}")
    assert [one.viewer.is_reader for one in access_of(console).sessions.list_sessions()] == [True]


def test_pages_are_shown_while_nothing_can_be_written(
    console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk, or a database that only reads, people see what is wrong, and change nothing."""
    person = signed_in()
    token = person.token()
    later = console.parts.inbox.now() + timedelta(minutes=5)

    def refuse(*_: object, **__: object) -> Any:
        raise StorageError("disk full")

    monkeypatch.setattr(console.parts.inbox.database, "write", refuse)
    access_of(console).sessions._now = lambda: later
    for path in ("", "/calls", "/customers", "/customer/nordlys", "/system", "/audit"):
        assert person.get(HOME + path).status_code == 200, path
    assert person.client.post(f"{HOME}/customer/nordlys/link", data={"csrf": token}).status_code == 503


def test_an_address_that_is_no_page_says_so_to_people(console: House, signed_in: SignIn) -> None:
    """A typing mistake, and a form's address reloaded, end on a page with a way back, and not in JSON."""
    person = signed_in()
    for path in ("/nothing", "/nothing/at/all", "/sign-out", "/customer/nordlys/secret"):
        answer = person.get(HOME + path)
        assert (answer.status_code, "To the overview" in answer.text) == (404, True), path
    assert person.get(f"{HOME}/").location == HOME


def test_behind_a_prefix_people_come_back_to_where_they_were(console: House) -> None:
    """Where a proxy serves the console below a path, signing in leads to the page that was asked for."""
    client = console.app.test_client()
    base = {"SCRIPT_NAME": "/m8crm"}
    asked = client.get(f"{HOME}/calls?state=dead", environ_overrides=base)
    form = client.get(asked.location.removeprefix("/m8crm"), environ_overrides=base)
    place = unescape(re.findall(r'name="next" value="([^"]*)"', form.text)[0])
    data = {"csrf": csrf_of(form.text), "name": "ada", "password": PASSWORD, "next": place}
    answer = client.post(f"{HOME}/sign-in", data=data, environ_overrides=base)
    assert answer.location == f"/m8crm{HOME}/calls?state=dead"


def test_an_error_while_the_database_is_away_is_still_a_page(
    console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused form is answered in words also when nobody can be asked who it is."""
    person = signed_in()

    def refuse(*_: object, **__: object) -> Any:
        raise StorageError("away")

    monkeypatch.setattr(console.parts.inbox.database, "read", refuse)
    answer = person.client.post(f"{HOME}/sign-in", data={"csrf": "wrong"})
    assert (answer.status_code, "The database does not answer." in answer.text) == (503, True)


def test_a_crowd_is_told_to_try_again(console: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who signs in while too many others do reads that, and not that the database is away."""
    monkeypatch.setattr(access_of(console).users, "_crowd", BoundedSemaphore(1))
    access_of(console).users._crowd.acquire()
    answer = Person(console.app.test_client()).post(f"{HOME}/sign-in", name="ada", password=PASSWORD)
    assert (answer.status_code, "Too many people sign in at this moment." in answer.text) == (503, True)
    assert 'value="ada"' in answer.text


def test_a_browser_without_cookies_is_told_why(console: House) -> None:
    """Who opens a console of https by http, or allows no cookies, reads that, and not that his form is old."""
    answer = console.app.test_client(use_cookies=False).post(f"{HOME}/sign-in", data={"csrf": "x", "name": "ada"})
    assert (answer.status_code, "open the console at http://127.0.0.1:8080" in answer.text) == (400, True)
