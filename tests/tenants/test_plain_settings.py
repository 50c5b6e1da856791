"""A customer's plain settings, changed by a form or a command."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from middleware.errors import ConfigError
from middleware.tenants.config import load_tenant
from middleware.tenants.files import change_tenant, create_tenant, read_plain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the customer ``acme``."""
    create_tenant(tmp_path, "acme", name="Acme AB", region="SE", timezone="Europe/Stockholm")
    return tmp_path


def test_what_is_given_changes_and_all_else_stays(folder: Path) -> None:
    """New values are in the file; comments, secrets and rights are as they were."""
    path = folder / "acme.toml"
    path.chmod(0o640)
    before = path.read_text()
    given = {"region": "no", "own_numbers": "+4721090000;\n +4721090001 ,"}
    assert change_tenant(folder, "acme", given) == ["region", "own_numbers"]
    expected = before.replace('region = "SE"', 'region = "NO"').replace(
        "own_numbers = []", 'own_numbers = ["+4721090000", "+4721090001"]'
    )
    assert path.read_text() == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [file.name for file in folder.iterdir()] == ["acme.toml"]


def test_what_is_read_changes_nothing_when_it_is_written(folder: Path) -> None:
    """A form that is sent as it was shown leaves the file alone, to the byte and to its time."""
    change_tenant(folder, "acme", {"own_numbers": "+46846500400, +46846500401"})
    path = folder / "acme.toml"
    before = path.stat()
    assert change_tenant(folder, "acme", read_plain(folder, "acme")) == []
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_setting_that_was_not_there_stands_before_the_tables(folder: Path) -> None:
    """A time zone that nobody had written is one of the customer, not of his last table."""
    path = folder / "acme.toml"
    path.write_text(path.read_text().replace('timezone = "Europe/Stockholm"\n', ""))
    change_tenant(folder, "acme", {"timezone": "Europe/Oslo"})
    assert str(load_tenant(path).timezone) == "Europe/Oslo"


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", " "), ("region", "XX"), ("timezone", "Mars/Base"), ("timezone", ""), ("own_numbers", "+46846500400, me")],
)
def test_what_cannot_be_is_refused_by_its_name(folder: Path, field: str, value: str) -> None:
    """The error names the field, says no number, and the file stays as it was."""
    before = (folder / "acme.toml").read_text()
    with pytest.raises(ConfigError) as caught:
        change_tenant(folder, "acme", {field: value})
    assert caught.value.problems[0].startswith(f"{field}: ")
    assert "46846500400" not in str(caught.value)
    assert (folder / "acme.toml").read_text() == before


def test_a_change_does_not_break_what_was_right(folder: Path) -> None:
    """A country in which the file's other numbers are none is refused, since nobody would be looked up any more."""
    path = folder / "acme.toml"
    path.write_text(path.read_text() + '\n[calls.skip]\nnumbers = ["08-465 004 00"]\n')
    with pytest.raises(ConfigError, match=r"calls\.skip\.numbers"):
        change_tenant(folder, "acme", {"region": "IS"})


def test_a_variable_that_only_the_server_has_forbids_no_change(folder: Path) -> None:
    """What was wrong elsewhere before, as in a shell without the CRM's token, does not stand in the way."""
    path = folder / "acme.toml"
    path.write_text(path.read_text() + '\n[[crm]]\nadapter = "hubspot"\ntoken = { env = "NOBODY_HAS_SET_THIS" }\n')
    assert change_tenant(folder, "acme", {"region": "NO"}) == ["region"]
    with pytest.raises(ConfigError, match="timezone"):
        change_tenant(folder, "acme", {"timezone": "Mars/Base"})
    path.write_text("region = ")
    with pytest.raises(ConfigError, match="is not TOML"):
        change_tenant(folder, "acme", {"region": "SE"})


def test_nobody_is_made_by_a_change(folder: Path) -> None:
    """An unknown customer, or one whose id is a path, is refused."""
    for name in ("nobody", "../acme", ""):
        with pytest.raises(ConfigError, match="is no customer"):
            change_tenant(folder, name, {"region": "SE"})
