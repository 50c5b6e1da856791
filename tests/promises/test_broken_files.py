"""Customers' files are broken in every way while the server runs."""

from __future__ import annotations

from tests.promises.broken_files import harass, survives_plainly


def test_broken_file_ends_nobodys_service() -> None:
    """The others notice nothing, the customer keeps his last good version, and ``m8crm check`` names his file."""
    harm = harass(victims=55, rounds=1)
    assert harm.broken > 40
    assert harm.asked > 100
    assert (harm.outages.total(), harm.untold) == (0, [])


def test_server_that_reads_files_at_its_start_is_down() -> None:
    """The measurement can fail: the usual way does not survive one broken file and a restart."""
    assert not survives_plainly()
