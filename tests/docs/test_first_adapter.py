"""The hour of docs/first-adapter.rst, lived through."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from middleware.cli import main
from middleware.settings import ROOT
from middleware.testing.conformance.author import ROOMS
from middleware.testing.conformance.registry import CHECKS

PAGE = ROOT / "docs" / "first-adapter.rst"
TEXT = PAGE.read_text(encoding="utf-8")
TITLES = ("Declaration", "Lookups", "Strange answers", "A CRM that is ill", "Writes", "Time and state", "Strangers")


def block(beginning: str) -> str:
    """Return the block of the page that has ``beginning``, without its indent."""
    paragraphs = re.split(r"\n(?=\S)", TEXT)
    found = next(paragraph for paragraph in paragraphs if beginning in paragraph)
    lines = [line for line in found.splitlines() if not line or line.startswith("   ")]
    return textwrap.dedent("\n".join(lines)).strip() + "\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a new project in which the commands run."""
    (tmp_path / "adapters").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    import adapters

    monkeypatch.setattr(adapters, "__path__", [str(tmp_path / "adapters"), *adapters.__path__])
    yield tmp_path
    sys.modules.pop("adapters.acme", None)


def run(command: str) -> click.testing.Result:
    """Run ``m8crm …`` as it stands on the page."""
    return CliRunner().invoke(main, command.removeprefix("m8crm ").split())


def test_the_beginning_works_and_says_what_the_page_says(project: Path) -> None:
    """The first commands write what the page names, and `check` has nothing against it."""
    lines = block("$ m8crm adapter new acme").splitlines()
    first, second = (line.removeprefix("$ ") for line in lines if line.startswith("$ "))
    written = run(first)
    assert [line for line in lines if line.startswith("Wrote")] == written.stdout.splitlines()[:2]
    checked = run(second)
    assert checked.exit_code == 0, checked.stdout
    assert " 0 failed" in checked.stdout


def test_the_message_of_the_page_is_the_kit_s(project: Path) -> None:
    """Who forgets the key reads what the page shows."""
    run("m8crm adapter new acme")
    adapter = project / "adapters" / "acme.py"
    adapter.write_text(adapter.read_text(encoding="utf-8").replace('        "key": call.key,\n', ""), encoding="utf-8")
    assert block("wrong the_log_has_the_key") in run("m8crm adapter check acme").stdout


def test_an_adapter_that_only_finds_contacts_needs_no_more(project: Path) -> None:
    """The class of the page is whole: with it, an adapter that has lost its other methods passes."""
    run("m8crm adapter new acme")
    adapter = project / "adapters" / "acme.py"
    source = adapter.read_text(encoding="utf-8")
    begin, end = source.index("    def find_contact_by_id"), source.index("    def check(")
    adapter.write_text(source[:begin] + source[end:], encoding="utf-8")
    test = project / "tests" / "adapters" / "acme" / "test_acme_conforms.py"
    test.write_text(block("class TestAcme(Conformance)"), encoding="utf-8")
    assert len([line for line in test.read_text(encoding="utf-8").splitlines() if line.strip()]) <= 17
    checked = run("m8crm adapter check acme")
    assert checked.exit_code == 0, checked.stdout


def test_every_check_is_listed_with_its_promise() -> None:
    """The page's list is the kit's: paste what ``listed`` returns."""
    begin, end = TEXT.index(".. checks begin"), TEXT.index(".. checks end")
    head, _, _ = TEXT[begin:end].partition("\n")
    wanted = f"{head}\n\n{listed()}\n"
    assert TEXT[begin:end] == wanted


def listed() -> str:
    """Return the list of all checks as the page has it."""
    lines = ["The checks", "----------", ""]
    for title, room in zip(TITLES, ROOMS, strict=True):
        own = [name for name, check in CHECKS.items() if check.__module__ == room.__name__]
        lines += [title, "~" * len(title), ""]
        lines += [f"* ``{name}``: {inspect.getdoc(CHECKS[name])}" for name in own] + [""]
    return "\n".join(lines)
