"""What a CRM holds is made fit to be shown."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.lookup.clean import clean_activity, clean_body, clean_contact, clean_links, clean_text, web_url
from middleware.model.activity import Note
from middleware.model.contact import Contact, ContactNumber, Email, Field, Link

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//evil.example", "ftp://x.example", "data:text/html,x", "/page", "", "http://", "https://["]
)  # fmt: skip
def test_only_web_links_survive(url: str) -> None:
    """A link that is not http(s) is left out wherever it stands."""
    contact = clean_contact(Contact(id="1", display_name="Ada", url=url, avatar_url=url, cover_photo_url=url))
    assert (contact.url, contact.avatar_url, contact.cover_photo_url) == (None, None, None)
    assert clean_activity(Note(timestamp=NOW, link=url)).link is None
    assert clean_links([Link(name="New", url=url)]) == ()
    assert web_url("https://crm.example/1") == "https://crm.example/1"


@pytest.mark.parametrize(
    ("body", "is_markdown", "shown"),
    [
        ("plain *text*", False, ("plain *text*", False)),
        ("<p>Hello <b>you</b></p>", False, ("Hello **you**", True)),
        ("1 < 2 and 3 > 2", False, ("1 < 2 and 3 > 2", False)),
        ("**bold** [x](https://crm.example)", True, ("**bold** [x](https://crm.example)", True)),
        ("see ![photo](https://crm.example/x.png)!", True, ("see photo!", True)),
        ("[x](javascript:alert(1))", True, ("[x](javascript:alert(1))", False)),
        ("[x](&#106;avascript:alert(1))", True, ("[x](&#106;avascript:alert(1))", False)),
        ("[x]: javascript:alert(1)\n\n[x]", True, ("[x]: javascript:alert(1)\n\n[x]", False)),
        ("[x]: https://crm.example\n\n[x]", True, ("[x]: https://crm.example\n\n[x]", True)),
        ("> [x]: &#106;avascript:a\n\n[x]", True, ("> [x]: &#106;avascript:a\n\n[x]", False)),
        ("[Ticket 7] is [here](https://crm.example)", True, ("[Ticket 7] is [here](https://crm.example)", True)),
        ("<p>a&#x202e;b</p>", False, ("ab", True)),
        ("<h2>Call</h2>a<br>b", False, ("## Call\n\na  \nb", True)),
        ("<ul><li>one</li><li>two<ol><li>in</ol></ul>end", False, ("* one\n* two\n   1. in\n\nend", True)),
        ("<b>bold <a href='https://x.se/(1)'>x</b>y", False, ("**bold [x](https://x.se/%281%29)**y", True)),
        ("<b><p>x</p> <p> y</p></b>", False, ("**x**\n\n**y**", True)),
        ("<blockquote>he said</blockquote>yes", False, ("> he said\n\nyes", True)),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1<td>2*</table>", False, ("a | b  \n1 | 2\\*", True)),
        ("<style>p{}</style><p title='1 > 0'>x<!-- c --><img src=y></p>", False, ("x", True)),
        ("<p>from <ada@x.example>, 1 < 2</p>", False, ("from <ada@x.example>, 1 < 2", True)),
        ("<https://crm.example>", True, ("<https://crm.example>", True)),
        ("[x](//evil.example)", True, ("[x](//evil.example)", False)),
        ('<a href="javascript:alert(1)">x</a>', False, ("[x](javascript:alert(1))", False)),
    ],
)
def test_bodies_are_text_or_safe_markdown(body: str, is_markdown: bool, shown: tuple[str, bool]) -> None:
    """HTML becomes markdown, images their description, and markdown with a bad link is shown as text."""
    assert clean_body(body, is_markdown=is_markdown) == shown


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """Clean text is clean and can be encoded."""
    once = clean_text(text)
    assert clean_text(once) == once
    once.encode()


def test_empty_optional_texts_are_left_out() -> None:
    """An optional text that is empty once cleaned is unknown, and a nameless contact gets a name."""
    contact = Contact(
        id="7", display_name="\x00", first_name=" ", company="Acme", fields=(Field(title="", comment="x"),)
    )
    cleaned = clean_contact(contact)
    assert (cleaned.display_name, cleaned.first_name, cleaned.fields) == ("Acme", None, ())


def test_naive_moments_are_read_in_utc() -> None:
    """A moment without zone does not depend on the server's clock settings."""
    naive = NOW.replace(tzinfo=None)
    assert clean_activity(Note(timestamp=naive)).timestamp == NOW


TITLES = ["Phone", "Äpfel, ö å", "x" * 499, "", " a", "a ", "a\u202eb", "a\nb", "x" * 501, "\u4e2d", "\ud800", "\xad"]


@given(st.lists(st.builds(Field, title=st.sampled_from(TITLES) | st.text(), comment=st.sampled_from(TITLES))))
def test_looking_at_all_texts_at_once_changes_nothing(facts: list[Field]) -> None:
    """The short way to find many texts fit agrees with cleaning each."""
    each = [Field(title=clean_text(fact.title), comment=clean_text(fact.comment)) for fact in facts]
    wanted = tuple(fact for fact in each if fact.title and fact.comment)
    assert clean_contact(Contact(id="1", display_name="Ada", fields=tuple(facts))).fields == wanted


TEXTS = st.sampled_from(TITLES)
ODD = st.none() | TEXTS  # adapters hand on what their CRM has


@given(
    st.builds(
        Contact,
        id=TEXTS,
        display_name=ODD,
        first_name=ODD,
        url=st.sampled_from([None, "https://crm.example/7", "javascript:x", ""]),
        numbers=st.lists(st.builds(ContactNumber, number=ODD, comment=ODD), max_size=2),
        emails=st.lists(st.builds(Email, address=ODD, comment=ODD), max_size=2).map(tuple),
        fields=st.lists(st.builds(Field, title=ODD, comment=ODD), max_size=2).map(tuple),
        updated_at=st.sampled_from([None, NOW, NOW.replace(tzinfo=None), NOW.date(), "2026-03-01", 0]),
    )
)
def test_a_contact_that_looks_fit_is(contact: Contact) -> None:
    """The short way for a contact of whom nothing is to be cleaned agrees with cleaning each of his texts."""
    with patch("middleware.lookup.clean._is_fit", return_value=False):
        wanted = clean_contact(contact)
    assert clean_contact(contact) == wanted


def test_what_is_no_text_is_left_out() -> None:
    """A fact without a text, and an address without one, cost no contact and are not shown."""
    contact = Contact(
        id="7",
        display_name=None,  # type: ignore[arg-type]
        first_name="Ada",
        emails=(Email(address=None),),  # type: ignore[arg-type]
        fields=(Field(title="City", comment=None), Field(title="a", comment="b")),  # type: ignore[arg-type]
        updated_at="2026-03-01",  # type: ignore[arg-type]
    )
    cleaned = clean_contact(contact)
    assert (cleaned.display_name, cleaned.emails, cleaned.fields) == ("Ada", (), (Field(title="a", comment="b"),))


def test_lists_of_an_adapter_are_cleaned() -> None:
    """An adapter that brings a list or a generator in place of a tuple is understood."""
    facts = [Field(title="a", comment="b"), Field(title="", comment="c")]
    for brought in (facts, iter(facts)):
        contact = Contact(id="7", display_name="Ada", fields=brought)  # type: ignore[arg-type]
        assert clean_contact(contact).fields == (facts[0],)
