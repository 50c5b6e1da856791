"""The ``[recordings]`` table of a customer's file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from middleware.errors import ConfigError
from middleware.tenants.config import load_tenant
from middleware.tenants.secrets import digest
from middleware.tenants.tenant import RecordingsConfig


def _load(folder: Path, table: str) -> RecordingsConfig:
    file = folder / "acme.toml"
    secret = digest("a-long-secret-of-the-tests")
    file.write_text(f'name = "Acme"\nregion = "SE"\n[secrets]\ninsights = ["{secret}"]\n[recordings]\n{table}\n')
    return load_tenant(file).recordings


def test_nothing_is_fetched_by_default(tmp_path: Path) -> None:
    """Without the table recordings are neither fetched nor passed on."""
    config = _load(tmp_path, "")
    assert (config.fetch, config.pass_through, config.hosts) == (False, False, ())


def test_fetching_names_its_hosts(tmp_path: Path) -> None:
    """A customer says from where, and for how long recordings are kept."""
    hosts = ("files.example.com", "files.example.com:8443", "*.example.com")
    config = _load(tmp_path, f'fetch = true\nkeep = "30d"\nhosts = {list(hosts)}')
    assert config == RecordingsConfig(fetch=True, hosts=hosts, keep=timedelta(days=30))


@pytest.mark.parametrize(
    "table",
    [
        "fetch = true",
        'fetch = true\npass_through = true\nhosts = ["files.example.com"]',
        'keep = "0d"',
        'keep = "forever"',
        "fech = true",
        *(
            f'fetch = true\nhosts = ["{host}"]'
            for host in (
                "127.0.0.1",
                "[::1]",
                "localhost",
                "*",
                "*.com",
                "https://files.example.com",
                "files.example.com/a",
                "Files.example.com",
                "10.0.0.1:443",
                "a@files.example.com",
                "files.*.com",
            )
        ),
    ],
)
def test_a_mistake_is_named(table: str, tmp_path: Path) -> None:
    """Every mistake in the table is refused with its key."""
    with pytest.raises(ConfigError, match="recordings"):
        _load(tmp_path, table)
