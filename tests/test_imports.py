"""Imports point one way (the rooms of the house and who may know whom)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# each room may import the rooms of earlier rows, its own, and what its row allows beside
ROWS = [
    {"errors", "failpoints", "model", "__init__", "settings", "installation_key", "generations", "logs", "shared_store"}
    | {"metrics", "side_database"},
    {"crm"},
    {"tenants"},
    {"lookup", "receivers", "migrations", "inbox"},
    {"index"},
    {"delivery", "recordings", "demo", "oauth"},
    {"monitoring"},
    {"web"},
    {"console", "parts"},
    {"app"},
    {"embedded", "cli"},
]
ALLOWED = {row_room: set().union(*ROWS[:index]) | {row_room} for index, row in enumerate(ROWS) for row_room in row}
ALLOWED["testing"] = ROWS[0] | {"crm", "testing"}
ALLOWED["cli"] |= {"testing"}  # `m8crm adapter` writes and checks adapters
ROW_MATES = {
    ("errors", "model"),
    ("model", "errors"),
    ("settings", "errors"),
    ("failpoints", "errors"),
    ("installation_key", "errors"),
    ("settings", "failpoints"),
    ("generations", "model"),
    ("logs", "model"),
    ("shared_store", "errors"),
    ("shared_store", "model"),
    ("metrics", "side_database"),
}
PURE = {"flask", "sqlalchemy", "requests", "socket", "sqlite3", "urllib3"}  # what model and receivers never import


def _files() -> list[Path]:
    return sorted((ROOT / "middleware").rglob("*.py"))


def _imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def _room(path: Path) -> str:
    return path.relative_to(ROOT / "middleware").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_knows_only_earlier_rooms(path: Path) -> None:
    """A room imports only what stands before it in the house; model and receivers do no I/O."""
    room = _room(path)
    for name in sorted(_imported(path)):
        if name.startswith("middleware."):
            other = name.split(".")[1]
            assert other in ALLOWED[room] or (room, other) in ROW_MATES, f"{room} imports {name}"
        assert not (room in {"model", "receivers"} and name.split(".")[0] in PURE), f"{room} imports {name}"
        assert name.split(".")[0] != "adapters", f"{room} imports {name}: adapters are found, never imported"
