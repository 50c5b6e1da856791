"""The matrix of adapters and what they can do."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from middleware.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_readme_has_the_matrix() -> None:
    """README.rst tells of each adapter what it can do, as the code has it: ``m8crm adapters --rst`` prints it anew."""
    printed = CliRunner().invoke(main, ["adapters", "--rst"]).output.strip()
    assert "``attach_recording``" in printed
    assert printed in (ROOT / "README.rst").read_text(encoding="utf-8")


def test_each_adapter_of_a_vendor_has_its_page() -> None:
    """Whoever connects a CRM reads what to create there, what it costs, and what it cannot do."""
    for path in (ROOT / "adapters").glob("[a-z]*.py"):
        page = ROOT / "docs" / "adapters" / f"{path.stem}.rst"
        if path.stem != "sql":  # adapters/README.rst
            assert {"What it costs", "Limits"} <= set(page.read_text(encoding="utf-8").splitlines()), path.stem
