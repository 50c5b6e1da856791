"""The README's commands are run, and its adapter works."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import responses

from middleware.cli.server import free_port
from middleware.crm.context import build_context
from middleware.crm.settings import Secret
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
ELSEWHERE = {"make test", "make demo", 'make demo ARGS="--data var/demo"'}  # .ci/run runs these


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in ``language``, without their indentation."""
    found = re.findall(rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", README)
    return [re.sub(r"^   ", "", block, flags=re.M) for block in found]


def commands() -> list[str]:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if line not in ELSEWHERE]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, dict[str, str]]]:
    """Run the demo as the README says, on a free port and in a folder of its own."""
    folder = tmp_path_factory.mktemp("readme") / "demo"
    port = free_port()
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    command = ["m8crm", "demo", "--data", str(folder), "--port", str(port), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=ROOT) as demo:
        assert demo.stdout is not None
        assert json.loads(demo.stdout.readline())["base_url"] == f"http://127.0.0.1:{port}"
        yield folder, port, env
        demo.terminate()
        assert demo.wait(30) == 0


def test_every_command_works_as_written(shell: tuple[Path, int, dict[str, str]]) -> None:
    """Copied line by line, the README's commands succeed and show what it promises."""
    folder, port, env = shell
    shown = ""
    for command in commands():
        here = command.replace("var/demo", str(folder)).replace(":8080", f":{port}")
        done = subprocess.run(
            here, shell=True, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        shown += done.stdout
    for promised in ("Maria Andersson", '"displayName"', "have the number", "accepted", "/acme-ab/lookup", "runs"):
        assert promised in shown


def test_the_first_adapter_finds_a_contact(tmp_path: Path) -> None:
    """The class that the README shows is a whole adapter."""
    path = tmp_path / "tiny.py"
    path.write_text(blocks("python")[0])
    spec = importlib.util.spec_from_file_location("tiny", path)
    assert spec is not None
    assert spec.loader is not None
    tiny: Any = importlib.util.module_from_spec(spec)
    sys.modules["tiny"] = tiny  # dataclasses look their module up
    spec.loader.exec_module(tiny)
    adapter = tiny.TinyAdapter(tiny.TinySettings(url="https://tiny.example/api", token=Secret("t" * 16)))
    ctx = build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=5)))
    with responses.RequestsMock() as crm:
        wanted = [responses.matchers.query_param_matcher({"phone": "01740605"})]
        answer = [{"id": "1", "name": "Ada", "phone": "070-174 06 05"}]
        crm.get("https://tiny.example/api/contacts", json=answer, match=wanted)
        (contact,) = adapter.find_contacts(parse_number("+46701740605", "SE"), ctx)
    assert contact.display_name == "Ada"
