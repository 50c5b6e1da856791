"""The installation's own key."""

from __future__ import annotations

from pathlib import Path

import pytest

from middleware.errors import ConfigError
from middleware.installation_key import KEY_BYTES, load_key


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    """The first start makes it, readable by its owner only; the next ones read it."""
    key = load_key(tmp_path)
    assert len(key) == KEY_BYTES
    assert load_key(tmp_path) == key
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, length: int) -> None:
    """A start says which file is wrong, before a lookup meets it."""
    (tmp_path / "key").write_bytes(b"x" * length)
    with pytest.raises(ConfigError, match=f"{length} bytes"):
        load_key(tmp_path)
