"""What the pages show."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from middleware.console import static_files
from middleware.console.guard import needs
from middleware.console.mount import SECTIONS
from middleware.console.roles import ALL
from tests.conftest import House
from tests.console.conftest import HOME, PASSWORD, PEOPLE, Person, SignIn, access_of

NUMBER = "+46701740605"


def test_every_page_of_the_navigation_opens(console: House, signed_in: SignIn) -> None:
    """Each role sees the pages of its navigation, and is refused the others."""
    for name, (role, _) in PEOPLE.items():
        person = signed_in(name)
        for section in SECTIONS:
            if section.roles:
                with console.app.test_request_context():
                    path = console.app.url_for(section.page)
                status = person.get(path).status_code
                assert status == (200 if role in section.roles else 403), (name, path)


def test_a_page_is_neither_kept_nor_framed_nor_has_scripts_of_its_own(console: House, signed_in: SignIn) -> None:
    """The policy of every page forbids what no page needs, and no page has what it forbids."""
    person = signed_in()
    for path in (HOME, f"{HOME}/lookup", f"{HOME}/traces", f"{HOME}/audit", f"{HOME}/traces/none"):
        answer = person.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)


def test_a_file_is_kept_as_long_as_it_is_the_same(console: House) -> None:
    """A file's address has the digest of its content: another one is no address."""
    with console.app.test_request_context():
        url = static_files.static_url("console.css")
    with console.client.get(url) as answer:
        assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]
    assert "max-age=31536000" in answer.headers["Cache-Control"]
    assert console.client.get(url.replace("/console.css", "/htmx.min.js")).status_code == 404
    assert console.client.get(f"{HOME}/static/x/README.rst").status_code == 404


def test_htmx_is_what_npm_has() -> None:
    """The vendored file is the one whose version and licence are noted."""
    noted = re.search(r"\b[0-9a-f]{64}\b", (static_files.FOLDER / "README.rst").read_text())
    assert noted
    assert hashlib.sha256((static_files.FOLDER / "htmx.min.js").read_bytes()).hexdigest() == noted[0]


def test_a_broken_file_is_on_the_overview(console: House, signed_in: SignIn) -> None:
    """Staff see whose configuration is wrong; another customer's admin does not."""
    Path(console.folder / "customers" / "harbour.toml").write_text("region = 7")
    console.lookup(customer="harbour")
    assert "harbour" in signed_in("cleo").get(HOME).text
    assert "harbour" not in signed_in("nora").get(HOME).text


def test_a_lookup_shows_the_card_and_what_it_took(console: House, signed_in: SignIn) -> None:
    """Customer Care sees the card, the JSON that M8Com gets, each step, and what the adapter's author should know."""
    text = signed_in("cleo").post(f"{HOME}/lookup", customer="nordlys", number="070-174 06 05").text
    assert "Outcome: hit" in text
    assert '<p class="name">Maria Andersson</p>' in text
    assert "Inköpschef, Fjällbris Konsult AB" in text
    assert '<span class="avatar" aria-hidden="true">MA</span>' in text
    assert "Note - Avtal" in text
    assert "<strong>Ramavtal</strong>" in text
    assert "&#34;displayName&#34;: &#34;Maria Andersson&#34;" in text
    assert "sql · contact" in text
    assert "13 of type Note were brought, the newest 10 are shown" in text
    assert 'href="https://crm.example/person/101/note/new"' in text


def test_the_curl_has_no_secret(console: House, signed_in: SignIn) -> None:
    """The command asks the same, and its secret is to be filled in."""
    text = signed_in().post(f"{HOME}/lookup", customer="nordlys", number=NUMBER, numeric_id="7 '").text
    assert "Authorization: Bearer $SECRET" in text
    assert "/nordlys/lookup?fromNumber=%2B46701740605&amp;numericId=7%20%27" in text
    for customer in console.customers.values():
        assert not any(secret in text for secret in customer.secrets.values())


def test_a_miss_is_explained(console: House, signed_in: SignIn) -> None:
    """A number that nobody has shows the reason and the status that M8Com gets."""
    unknown = console.customers["nordlys"].unknown_number
    text = signed_in().post(f"{HOME}/lookup", customer="nordlys", number=unknown).text
    assert "Outcome: miss" in text
    assert "Nobody in the CRM has this number." in text
    assert "M8Com is answered 404" in text


def test_every_step_is_drawn_and_what_is_not_shown_is_told(console: House, signed_in: SignIn) -> None:
    """From the cache to the answer, each request below the step that sent it; the trace's own page draws the same."""
    person = signed_in()
    text = person.post(f"{HOME}/lookup", customer="nordlys", number=NUMBER).text
    trace = re.search(r'/traces/(\w+)"', text)
    assert trace
    for shown in (text, person.get(f"{HOME}/traces/{trace[1]}").text):
        rows = re.findall(r'<th scope="row"( class="part")?>([^<]+)', shown)
        names = [(bool(part), name.strip()) for part, name in rows]
        assert names[0] == (False, "cache")
        assert names[names.index((False, "sql · contact")) + 1] == (True, "request")
        assert names[-2:] == [(False, "assembly"), (False, "answer")]
        assert "sql: 3 of 13 notes: the latest ten are shown" in shown


def test_the_cache_is_used_passed_by_or_renewed(console: House, signed_in: SignIn) -> None:
    """The three ways to ask differ in what they do with the cache."""
    person = signed_in()

    def asked(mode: str) -> str:
        return person.post(f"{HOME}/lookup", customer="nordlys", number=NUMBER, mode=mode).text

    assert "Cache: nothing there" in asked("past")
    assert "Cache: nothing there" in asked("past")
    assert "Cache: nothing there" in asked("as-is"), "what passes the cache by leaves nothing in it"
    assert "Cache: answered from it." in asked("as-is")
    assert "sql · contact" in asked("renew")
    assert "Cache: answered from it." in asked("as-is")


def test_a_lookup_is_written_down_without_its_number(console: House, signed_in: SignIn) -> None:
    """The audit log knows who tried which customer, and no number."""
    signed_in("cleo").post(f"{HOME}/lookup", customer="nordlys", number=NUMBER)
    tried = access_of(console).audit.entries("nordlys")[0]
    assert (tried.who, tried.action, tried.customer) == ("cleo", "lookup tried", "nordlys")
    assert NUMBER[-4:] not in tried.about
    assert "lookup tried" in signed_in().get(f"{HOME}/audit").text


@pytest.mark.parametrize(("form", "status"), [({"number": NUMBER}, 404), ({"customer": "nordlys"}, 400), ({}, 404)])
def test_an_incomplete_form_is_told(signed_in: SignIn, form: dict[str, str], status: int) -> None:
    """A form without customer or number says so."""
    assert signed_in().post(f"{HOME}/lookup", **form).status_code == status


def test_a_trace_is_found_by_its_id(console: House, signed_in: SignIn) -> None:
    """The X-Request-Id of an answer opens the lookup as it went."""
    trace_id = console.lookup().headers["X-Request-Id"]
    person = signed_in("cleo")
    assert trace_id in person.get(f"{HOME}/traces").text
    text = person.get(f"{HOME}/traces/{trace_id}").text
    assert "sql · contact" in text
    assert NUMBER not in text
    assert trace_id in person.post(f"{HOME}/traces", customer="nordlys", number="0701740605").text
    assert trace_id not in person.post(f"{HOME}/traces", customer="nordlys", number="0701740606").text
    assert "This is no number" in person.post(f"{HOME}/traces", number="x y").text


def test_a_link_may_try_a_lookup_and_change_nothing(console: House) -> None:
    """Who comes by a link may ask, since that changes nothing; a view that does not say so is closed to him."""
    console.app.add_url_rule(f"{HOME}/change", "change", needs(ALL)(lambda viewer: "changed"), methods=["POST"])
    _, text = access_of(console).links.make("nordlys", "ada")
    person = Person(console.app.test_client())
    person.post(f"{HOME}/link/{text}")
    assert "Outcome: hit" in person.post(f"{HOME}/lookup", customer="nordlys", number=NUMBER).text
    assert person.post(f"{HOME}/change").status_code == 403
    person.post(f"{HOME}/sign-in", name="nora", password=PASSWORD)
    assert person.post(f"{HOME}/change").text == "changed"


def test_a_form_offers_no_thousand_customers(signed_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are many customers a form takes an id, and is not made of all of them."""
    person = signed_in("cleo")
    assert '<option value="harbour">' in person.get(f"{HOME}/lookup").text
    monkeypatch.setattr("middleware.console.roles.OFFERED", 1)
    for page in ("lookup", "calls", "sender"):
        assert '<option value="harbour">' not in person.get(f"{HOME}/{page}").text
