"""The plugin makes a test of each check, for every class of an author's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from middleware.settings import ROOT
from middleware.testing.conformance import Conformance
from middleware.testing.conformance.registry import CHECKS
from middleware.testing.skeleton import ADAPTER, TEST


def run_pytest(folder: Path, test: str, adapter: str = ADAPTER, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as an author does, in a folder of his own with nothing but his two files."""
    (folder / "acme.py").write_text(adapter, encoding="utf-8")
    (folder / "test_acme.py").write_text(test.replace("adapters.acme", "acme"), encoding="utf-8")
    usual = ("-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "test_acme.py")
    command = [sys.executable, "-m", "pytest", *usual, *options]
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_each_check_is_a_test(tmp_path: Path) -> None:
    """The author's class becomes one test a check, whatever the class is called, and they pass."""
    listed = run_pytest(tmp_path, TEST.replace("TestAcme", "AcmeKeepsItsPromises"), ADAPTER, "--collect-only")
    names = [line for line in listed.stdout.splitlines() if "AcmeKeepsItsPromises::test_conformance[" in line]
    assert len(names) == len(CHECKS)
    ran = run_pytest(tmp_path, TEST)
    assert ran.returncode == 0, ran.stdout
    assert f"{len(CHECKS) - 4} passed, 4 skipped" in ran.stdout


def test_a_failure_says_how_to_mend_it(tmp_path: Path) -> None:
    """The author reads what is wrong and what to do, and nothing of the kit's inside."""
    ran = run_pytest(tmp_path, TEST, ADAPTER.replace('        "key": call.key,\n', ""))
    assert ran.returncode == 1
    assert "test_conformance[the_log_has_the_key]" in ran.stdout
    assert "what log_call writes does not hold call.key" in ran.stdout
    assert "How to mend it: write call.key into a field of its own" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert "conformance/writes.py" not in ran.stdout


def test_what_does_not_apply_is_skipped_with_its_reason(tmp_path: Path) -> None:
    """A check that a CRM cannot pass is skipped in public, for a reason in words."""
    reason = '    not_applicable = {"the_log_has_the_key": "Acme has no field"}\n'
    test = TEST.replace("    exchanges = (", f"{reason}    exchanges = (")
    keyless = ADAPTER.replace('        "key": call.key,\n', "")
    ran = run_pytest(tmp_path, test, keyless, "-rs", "-k", "the_log_has_the_key")
    assert ran.returncode == 0, ran.stdout
    assert "Acme has no field" in ran.stdout


def test_a_check_that_does_not_exist_cannot_be_left_out() -> None:
    """A misspelt name in ``not_applicable`` is told: else a check would be thought to be left out for a reason."""
    with pytest.raises(TypeError, match="the_log_has_a_key"):
        type("AcmeTest", (Conformance,), {"not_applicable": {"the_log_has_a_key": "Acme has no field"}})
