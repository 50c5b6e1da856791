"""Counters that processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from middleware.generations import Generations

BUMP = """
import sys, pathlib
from middleware.generations import Generations
Generations(pathlib.Path(sys.argv[1])).bump("acme", "+461")
"""


def test_another_process_sees_what_changed(tmp_path: Path) -> None:
    """A count in one process is seen at once in another, and only for that number."""
    generations = Generations(tmp_path / "generations")
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", BUMP, str(tmp_path / "generations")], check=True, cwd=root)
    assert generations.current("acme", "+461") == 1
    assert generations.current("acme", "+462") == 0
    assert generations.current("other", "+461") == 0
    generations.close()
