"""The mappings that are shipped, as a customer has them in his file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from unittest.mock import patch

from adapters.rest import RestAdapter
from middleware.tenants.config import load_tenant

FOLDER = Path(__file__).resolve().parent.parent.parent.parent / "config" / "mappings"
HEAD = 'name = "Acme AB"\nregion = "SE"\n[secrets]\ninsights = ["sha256:{digest}"]\n\n'
TOKEN = "t0ken-of-the-test"


def customer(folder: Path, table: str) -> Path:
    """Write a customer whose CRM is ``table``."""
    path = folder / "acme.toml"
    digest = hashlib.sha256(b"a-long-secret-of-the-sender").hexdigest()
    path.write_text(HEAD.format(digest=digest) + table, encoding="utf-8")
    return path


def adapter_of(folder: Path, table: str, token: str = TOKEN) -> RestAdapter:
    """Return the adapter of a ``[[crm]]`` table."""
    names = ("TRYTON", "ROUNDUP", "LIME", "REST")
    with patch.dict(os.environ, {f"ACME_{name}_TOKEN": token for name in names}):
        (source,) = load_tenant(customer(folder, table)).sources
    assert isinstance(source.adapter, RestAdapter)
    return source.adapter


def shipped(folder: Path, name: str, token: str = TOKEN, changes: dict[str, str] | None = None) -> RestAdapter:
    """Return the adapter of a mapping that is shipped; in its text ``changes`` say what stands for what."""
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    for old, new in (changes or {}).items():
        text = text.replace(old, new)
    return adapter_of(folder, text, token)
