"""Counters that processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from middleware.generations import Generations
from tests.conftest import KEY

BUMP = """
import sys, pathlib
from middleware.generations import Generations
from tests.conftest import KEY
Generations(pathlib.Path(sys.argv[1]), KEY).bump("acme", "+461")
"""


def test_another_process_sees_what_changed(tmp_path: Path) -> None:
    """A count in one process is seen at once in another, and only for that number."""
    generations = Generations(tmp_path / "generations", KEY)
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", BUMP, str(tmp_path / "generations")], check=True, cwd=root)
    assert generations.current("acme", "+461").changed == 1
    assert generations.current("acme", "+462").changed == 0
    assert generations.current("other", "+461").changed == 0
    generations.close()


def test_forgetting_reaches_as_far_as_it_is_told(tmp_path: Path) -> None:
    """A number, a customer or everything is forgotten, and nothing beside it."""
    generations = Generations(tmp_path / "generations", KEY)
    numbers = [("acme", "+461"), ("acme", "+462"), ("other", "+461")]
    for what, counts in ((("acme", "+461"), [1, 0, 0]), (("acme",), [2, 1, 0]), ((), [3, 2, 1])):
        generations.forget(*what)
        assert [generations.current(*number).forgotten for number in numbers] == counts
    generations.close()
