"""The peers from npm: installed once into a cache folder, and started beside us."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from benchmarks.customers import SECRET
from benchmarks.load import Ask, get
from benchmarks.servers import SERVER_CORE, Server, run_node
from benchmarks.table import say

SOURCE = Path(__file__).resolve().parent / "node"
NEEDED = ("node", "npm")


def peers_folder() -> Path:
    """Return the folder with the peers' scripts and everything they need; installs it the first time."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} not found; install them: apt-get install nodejs npm")
    version = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "m8crm-benchmarks" / version
    folder.mkdir(parents=True, exist_ok=True)
    for file in SOURCE.iterdir():
        shutil.copy(file, folder)
    if not (folder / "installed").exists():
        say(f"installing the peers into {folder}, once")
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"npm could not install the peers:\n{done.stderr}")
        (folder / "installed").touch()
    return folder


def peer_versions() -> str:
    """Return what was installed, as it is written in the table's last line."""
    pinned: dict[str, str] = json.loads((SOURCE / "package.json").read_text())["dependencies"]
    if not shutil.which("node"):
        return "no peers"
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return ", ".join([f"Node {node}", *(f"{name} {version}" for name, version in pinned.items())])


@contextmanager
def run_express(*, crm: str = "", known: Path | None = None, core: str | None = SERVER_CORE) -> Iterator[Server]:
    """Run the Express app: over the map in the JSON file ``known``, or asking ``crm`` by axios."""
    environ = {"SECRET": SECRET, "CRM": crm, "KNOWN": str(known or "")}
    with run_node(peers_folder() / "express.js", core=core, **environ) as server:
        yield server


@contextmanager
def run_clinq(*, core: str | None = SERVER_CORE) -> Iterator[Server]:
    """Run ``@clinq/bridge``; its requests name the CRM."""
    with run_node(peers_folder() / "clinq.js", core=core) as server:
        yield server


def ask_express(number: str, *, kind: str = "") -> Ask:
    """Return the same request that m8crm gets."""
    return get(f"/acme/lookup?fromNumber={quote(number)}", bearer=SECRET, expect=number.encode(), kind=kind)


def ask_clinq(number: str, crm: str, *, kind: str = "") -> Ask:
    """Return the request for the contacts that are kept under ``number``."""
    headers = f"X-Provider-Key: {number}\r\nX-Provider-Url: {crm}\r\n"
    return get("/contacts", headers=headers, expect=number.encode(), kind=kind)
