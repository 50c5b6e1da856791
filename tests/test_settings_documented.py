"""Every setting of the process is documented."""

from __future__ import annotations

import re
from dataclasses import fields

from middleware.settings import ROOT, Settings


def test_every_variable_is_in_the_readme() -> None:
    """``config/README.rst`` has a row for each variable and for no other."""
    table = (ROOT / "config" / "README.rst").read_text(encoding="utf-8")
    rows = re.findall(r"^``M8CRM_([A-Z_]+)``", table, re.M)
    assert sorted(rows) == sorted(field.name.upper() for field in fields(Settings))
