"""The pages of the vendors' adapters say what works."""

from __future__ import annotations

import hashlib
import re
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest

from middleware.crm.registry import load_adapters
from middleware.errors import ConfigError
from middleware.tenants.config import load_tenant

DIGEST = "sha256:" + hashlib.sha256(b"a-long-secret-of-the-sender").hexdigest()
PAGES = sorted((Path(__file__).resolve().parent.parent.parent / "docs" / "adapters").glob("*.rst"))


def customer(folder: Path, table: str) -> Path:
    path = folder / "acme.toml"
    head = f'name = "Acme AB"\nregion = "SE"\n\n[secrets]\ninsights = ["{DIGEST}"]'
    path.write_text(f"{head}\n\n{table}\n", encoding="utf-8")
    return path


def example(page: Path) -> str:
    found = re.search(r"\.\. code-block:: toml\n\n((?: {3}.*\n|\n)+)", page.read_text(encoding="utf-8"))
    assert found
    return textwrap.dedent(found[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_is_a_configuration(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of the page is accepted as it stands, and a key with a slip of the pen is told by its name."""
    monkeypatch.setenv(f"ACME_{page.stem.upper()}_TOKEN", "t0ken")
    (source,) = load_tenant(customer(tmp_path, example(page))).sources
    assert source.adapter.name == page.stem
    assert source.adapter.can("log_call")
    with pytest.raises(ConfigError, match="tokken"):
        load_tenant(customer(tmp_path, example(page).replace("token", "tokken", 1)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_is_told(page: Path) -> None:
    """A setting that is not on the adapter's page does not exist."""
    text = page.read_text(encoding="utf-8")
    missing = [
        field.name for field in fields(load_adapters()[page.stem].settings_type) if f"``{field.name}``" not in text
    ]
    assert missing == []


def test_lists_are_settings(tmp_path: Path) -> None:
    """What a page writes as a list may be written as one."""
    table = (
        '[[crm]]\nadapter = "hubspot"\ntoken = "t"\nphones = ["phone", "direct_line"]\nactivities = ["notes", "calls"]'
    )
    (source,) = load_tenant(customer(tmp_path, table)).sources
    assert source.adapter.settings.phones == ("phone", "direct_line")
    assert not source.adapter.can("find_deals")
