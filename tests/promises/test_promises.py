"""The promises that have a figure, each small enough for every run; ``make promises`` measures them in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.table import PASS, Figure
from tests.promises import copies, lost, once, restarts
from tests.promises.__main__ import main
from tests.promises.databases import DATABASES

pytestmark = pytest.mark.timeout(300)
on_both = pytest.mark.parametrize("database", DATABASES)


def assert_kept(*figures: Figure) -> None:
    """Hold that the goals are reached, and that the controls miss them."""
    for figure in figures:
        assert figure.verdict == PASS, figure


@on_both
def test_no_acknowledged_event_is_lost(database: str) -> None:
    """Whatever is killed while events come in, all that were acknowledged are in the database."""
    assert_kept(lost.measure(database, kills=5, least=500))


@on_both
def test_every_call_is_written_once(database: str) -> None:
    """Workers that are killed while they write leave no call twice in a CRM that can be asked, and none is missing."""
    asked, blind = once.measure(database, kills=3)
    assert_kept(asked)
    assert blind.reached, blind


@on_both
def test_copies_are_one_event(database: str) -> None:
    """Twenty copies at the same moment, to four processes, are one row and one acceptance."""
    assert_kept(copies.measure(database, keys=50))


def test_restarts_fail_no_request() -> None:
    """SIGHUP, SIGUSR2 and socket activation fail no request."""
    assert_kept(restarts.measure("sqlite", restarts=1))


def test_the_table_is_written_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever measures gets a page with what was asked, when, and every figure, also of promises that were broken."""
    broken = Figure(what="P0 nothing is lost", figure="3 lost", goal="0 lost", reached=False)
    monkeypatch.setattr("tests.promises.__main__.PROMISES", {"P0": lambda _database, _is_full: [broken]})
    monkeypatch.setattr("sys.argv", ["promises", "P0", "--database", "sqlite", "--write", str(tmp_path / "table.rst")])
    with pytest.raises(SystemExit) as ended:
        main()
    page = (tmp_path / "table.rst").read_text()
    assert ended.value.code
    assert "P0 --database sqlite" in page
    assert "3 lost" in page
    assert "FAIL" in page
