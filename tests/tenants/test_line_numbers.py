"""A fault in a customer's file is told with its line."""

from __future__ import annotations

import tomllib

import pytest

from middleware.tenants.lines import MAX_READINGS, Lines, with_lines

FILE = '''\
name = "Acme"

[lookup]
budget = "2.6s"

[[crm]]
adapter = "sql"
queries.find_contacts = """
[crm.requests]
not_a_key = 1
"""

[[crm]]
adapter = "rest"
words = { direction = { inbound = "in" } }
[crm.requests.find_notes]
path = "notes"
json = [
  "a",
  { b = "{x}" },
]
[crm.requests.find_notes.fields]
"body" = "note["
"a.b" = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["name"], 1),
        (["lookup"], 3),
        (["lookup", "budget"], 4),
        (["crm", "0", "queries", "find_contacts"], 8),
        (["crm", "1"], 13),
        (["crm", "1", "words", "direction", "inbound"], 15),
        (["crm", "1", "requests", "find_notes"], 16),
        (["crm", "1", "requests", "find_notes", "json", "1", "b"], 20),
        (["crm", "1", "requests", "find_notes", "fields", "body"], 23),
        (["crm", "1", "requests", "find_notes", "fields", "a.b"], 24),
        (["crm", "1", "requests", "find_notes", "path", "x"], 17),
        (["crm", "1", "requests", "find_notes", "query", "x"], 16),
        (["crm", "0", "not_a_key"], 6),
        (["nothing"], None),
    ],
)
def test_a_key_is_found_where_it_stands(path: list[str], line: int | None) -> None:
    """The line is the key's own, whatever tables and long texts stand before; else that of the table around it."""
    assert Lines(FILE).find(path) == line


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ("lookup.budget: is wrong", "line 4: lookup.budget: is wrong"),
        ("crm entry 2: requests.find_notes.fields.body: is no JMESPath", "line 23: crm entry 2: requests."),
        ("crm entry 1.adapter: did you mean", "line 7: crm entry 1.adapter"),
        ("is larger than 1 KiB", "is larger than 1 KiB"),
        ("nosuch: is missing", "nosuch: is missing"),
    ],
)
def test_a_problem_is_told_with_its_line(problem: str, told: str) -> None:
    """What begins with a key of the file begins with its line; any other sentence stays."""
    assert with_lines([problem], FILE)[0].startswith(told)


@pytest.mark.parametrize("text", ["#\n" * 6_000, 'long = """\n' + "x\n" * 1_900 + '"""\n'], ids=["many", "long"])
def test_a_huge_file_costs_little(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file of thousands of lines, or with a text of thousands, the search gives up: lookups would wait."""
    read: list[str] = []
    real = tomllib.loads

    def counted(text: str) -> object:
        read.append(text)
        return real(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    (told,) = with_lines(["name: is wrong"], text + 'name = "x"\n')
    assert told.endswith("name: is wrong")
    assert len(read) <= MAX_READINGS
