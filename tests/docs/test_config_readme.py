"""The customer's file in ``config/README.rst`` is one that works."""

from __future__ import annotations

import re
import textwrap
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from middleware.tenants.config import load_tenant
from middleware.tenants.tenant import CallsConfig, LookupConfig, RecordingsConfig

README = Path(__file__).resolve().parent.parent.parent / "config" / "README.rst"


def example() -> str:
    match = re.search(r"\.\. code-block:: toml\n\n((?:   .*\n|\n)+)", README.read_text(encoding="utf-8"))
    assert match
    return textwrap.dedent(match[1])


def test_the_example_is_a_customer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hoster who copies the example has a customer with three secrets and the defaults that the comments tell."""
    monkeypatch.setenv("ACME_INSIGHTS", "a-secret-of-the-environment")
    monkeypatch.setenv("ACME_DATABASE", f"sqlite:///{tmp_path / 'crm.db'}")
    (tmp_path / "acme.insights").write_text("a-secret-of-a-file")
    (tmp_path / "acme.toml").write_text(example(), encoding="utf-8")
    tenant = load_tenant(tmp_path / "acme.toml")
    assert len(tenant.secrets["insights"]) == 3
    assert tenant.lookup == LookupConfig()
    assert tenant.calls == CallsConfig(log_to=("sql",))
    assert tenant.recordings == RecordingsConfig()
    tenant.sources[0].adapter.close()


@pytest.mark.parametrize(
    ("table", "config"), [("lookup", LookupConfig), ("calls", CallsConfig), ("recordings", RecordingsConfig)]
)
def test_the_example_has_every_key(table: str, config: type) -> None:
    """A key that the example lacks does not exist."""
    assert set(tomllib.loads(example())[table]) == {field.name for field in fields(config)}
