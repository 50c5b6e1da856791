"""A mapping that could not work is refused when it is read, with the line and what is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.rest import SHAPES
from middleware.errors import ConfigError
from tests.adapters.rest.mappings import HEAD, adapter_of

LONELY = 'requests.find_task = { path = "x", fields = { id = "id" } }'
START = HEAD.count("\n")  # lines of the file before the table
TABLE = """\
[[crm]]
adapter = "rest"
url = "https://crm.example/api"
auth = "bearer"
token = "t0ken"
[crm.requests.find_contacts]
path = "people"
query.phone = "{e164}"
records = "data"
fields.id = "id"
fields.number = "phone"
"""


def faults(folder: Path, table: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        adapter_of(folder, table)
    return caught.value.problems


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ('"{e164}"', '"{e165}"', 8, "query.phone: unknown placeholder {e165}; known: {double_zero}, {e164}"),
        ('"{e164}"', '"{contact_id}"', 8, "unknown placeholder {contact_id}"),
        ('"{e164}"', "\"p eq '{raw}'\"", 8, "write {raw:doubled} (OData, SQL) or {raw:escaped} (SOQL, JSON)"),
        ('"{e164}"', "2026-01-01", 8, "find_contacts.query.phone: write a text"),
        (
            '"{e164}"',
            '"everybody"',
            6,
            "requests.find_contacts: would be about everybody; it names none of {double_zero}",
        ),
        ('auth = "bearer"', 'auth = "none"\nnumber_forms = ["e164", "suffix"]', 5, "number_forms: nothing in"),
        ('"data"', '"data[?x"', 9, "find_contacts.records: is no JMESPath: "),
        ('"phone"', '"phone["', 11, "find_contacts.fields.number: is no JMESPath: "),
        ('"phone"', '"lower(phone)"', 11, "fields.number: is no JMESPath: there is no function lower(); known: abs"),
        ('"phone"', "\"join(',')\"", 11, "is no JMESPath: join() wants 2 arguments and has 1"),
        ('"phone"', "7", 11, "fields.number: write a JMESPath expression"),
        ("fields.number", "fields.nummer", 11, "fields.nummer: fills nothing; did you mean 'number'?"),
        ("fields.number", "fields.field_number", 10, "find_contacts.fields: the column number is missing"),
        ('path = "people"', 'pth = "people"', 7, "find_contacts.pth: is unknown; did you mean 'path'?"),
        ('path = "people"', "", 6, "find_contacts.path: write what comes behind `url`"),
        ('"people"', '"people?x=1"', 7, "find_contacts.path: write what comes behind `url`"),
        ('"people"', '"https://evil.example/"', 7, "find_contacts.path: write what comes behind `url`"),
        ('path = "people"', 'path = "people"\nmethod = "DELETE"', 8, "find_contacts.method: is none that fits"),
        ('path = "people"', 'path = "people"\nnext = "x"', 8, "find_contacts.next: is unknown"),
        ('path = "people"', 'path = "p"\njson = {}\nform = {}', 9, "find_contacts.form: a request has one body"),
        ('path = "people"', 'path = "p"\nfirst = { path = "q" }', 8, "find_contacts.first.fields: is missing"),
        ("requests.find_contacts]", "requests.find_contact]", 6, "requests.find_contact: is unknown; did you mean"),
        ("requests.find_contacts]", "requests.find_contact_by_id]", 6, "requests.find_contacts: is missing"),
        ("https://crm.example", "http://crm.example", 3, "url: write https://host/path"),
        ("https://crm.example", "https://u:p@crm.example", 3, "url: write https://host/path"),
        ('token = "t0ken"', "", 1, "token: is missing"),
        ('auth = "bearer"', 'auth = "header"', 1, "auth_name: is missing"),
        ('auth = "bearer"', 'auth = "login"\nauth_name = "X"', 7, "requests.login: is missing"),
        ('auth = "bearer"', 'auth = "digest"', 4, "auth: "),
        ('auth = "bearer"', 'auth = "none"\ntimezone = "Sweden"', 5, "timezone: is unknown"),
        ('auth = "bearer"', 'auth = "none"\nerrors = { broken = "x" }', 5, "errors.broken: is unknown"),
        ('auth = "bearer"', 'auth = "none"\nerrors = { auth = "x[" }', 5, "errors.auth: is no JMESPath"),
        ('auth = "bearer"', 'auth = "none"\nwords = { way = { a = 1 } }', 5, "words.way: is no placeholder of a call"),
        ('auth = "bearer"', 'auth = "none"\nnumber_forms = ["long"]', 5, "number_forms"),
        ('auth = "bearer"', 'auth = "none"\ncreate_links = { a = "crm/{id}" }', 5, "create_links.a: write an address"),
        ('auth = "bearer"', 'auth = "none"\ncreate_links = { a = "https://x/{x}" }', 5, "unknown placeholder {x}"),
        ('token = "t0ken"', f'token = "t0ken"\n{LONELY}', 6, "find_task: is of no use without requests.create_task"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, told: str) -> None:
    """Each fault names its line in the customer's file, its key, and what is meant."""
    assert old in TABLE
    problems = faults(tmp_path, TABLE.replace(old, new, 1))
    right = [problem for problem in problems if told in problem]
    assert right, problems
    assert right[0].startswith(f"line {line + START}: crm entry 1"), right[0]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Whoever writes a mapping mends all of it in one go."""
    table = TABLE.replace("{e164}", "{x}").replace('"data"', '"data["').replace('"phone"', '"f(@)"')
    assert len(faults(tmp_path, table)) == 3


def test_no_message_holds_the_token(tmp_path: Path) -> None:
    """What is wrong is said without the secret that stands beside it."""
    assert "t0ken" not in "".join(faults(tmp_path, TABLE.replace("{e164}", "{token}")))


def test_every_request_and_placeholder_is_on_the_page() -> None:
    """Whoever writes a mapping finds what may be asked, and with what."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "adapters" / "rest.rst").read_text(encoding="utf-8")
    readme = (Path(__file__).resolve().parents[3] / "adapters" / "README.rst").read_text(encoding="utf-8")
    assert [name for name in SHAPES if f"``{name}``" not in page] == []
    names = set().union(*(shape.parameters for shape in SHAPES.values()))
    assert [name for name in names if f"``{{{name}}}``" not in page and f"``:{name}``" not in readme] == []
    keys = set().union(*(shape.keys for shape in SHAPES.values()))
    assert [key for key in keys if f"``{key}``" not in page] == []
