"""The documentation knows every setting, knob and command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest
from docutils import nodes
from docutils.core import publish_doctree
from docutils.utils import Reporter

from middleware.cli import main
from middleware.settings import Settings
from middleware.tenants.log_template import SAMPLE
from middleware.tenants.tenant import CallsConfig, IndexConfig, LookupConfig, RecordingsConfig, SkipConfig

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.rst"), *ROOT.glob("docs/**/*.rst"), *ROOT.glob("*/README.rst")])


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("setting", [field.name for field in fields(Settings)])
def test_every_setting_is_documented(setting: str) -> None:
    """A process setting that is not on the operations page does not exist."""
    assert f"``M8CRM_{setting.upper()}``" in text("docs/operations.rst")


@pytest.mark.parametrize("knob", [field.name for field in fields(RecordingsConfig)])
def test_every_knob_of_recordings_is_documented(knob: str) -> None:
    """A key of ``[recordings]`` that is not on the recordings page does not exist."""
    assert f"``{knob}``" in text("docs/recordings.rst")


@pytest.mark.parametrize("knob", [field.name for config in (LookupConfig, IndexConfig) for field in fields(config)])
def test_every_knob_is_documented(knob: str) -> None:
    """A key of ``[lookup]`` or ``[crm.index]`` that is not on the lookup page does not exist."""
    assert f"``{knob}``" in text("docs/lookup.rst")


@pytest.mark.parametrize("knob", [field.name for config in (CallsConfig, SkipConfig) for field in fields(config)])
def test_every_knob_of_calls_is_documented(knob: str) -> None:
    """A key of ``[calls]`` that is not on the page about calls does not exist."""
    assert f"``{knob}``" in text("docs/calls.rst")


@pytest.mark.parametrize("fact", SAMPLE)
def test_every_fact_of_templates_is_documented(fact: str) -> None:
    """Whoever writes a template finds what it may name."""
    assert f"``{fact}``" in text("docs/calls.rst")


def test_every_command_is_documented_and_speaks_json() -> None:
    """Each command is in the README or the changelog, and has ``--json``."""

    def commands(group: click.Group) -> Iterator[click.Command]:
        for found in group.commands.values():
            yield from commands(found) if isinstance(found, click.Group) else (found,)

    for name in main.commands:
        assert f"``{name}``" in text("CHANGELOG.rst")
    for command in commands(main):
        assert "--json" in {option for parameter in command.params for option in parameter.opts}, command.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_is_right_and_its_links_lead_somewhere(page: Path) -> None:
    """A page is valid reStructuredText, and what it links to in this project is there."""
    severe = {
        "report_level": Reporter.WARNING_LEVEL,
        "halt_level": Reporter.WARNING_LEVEL,
        "file_insertion_enabled": False,
    }
    tree = publish_doctree(page.read_text(encoding="utf-8"), settings_overrides=severe)
    for reference in tree.findall(nodes.reference):
        target = reference["refuri"]
        assert target.startswith(("http", "mailto")) or (page.parent / target).exists(), target
    for image in tree.findall(nodes.image):
        assert (page.parent / image["uri"]).exists(), image["uri"]
        assert image["alt"], image["uri"]
