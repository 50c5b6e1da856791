"""Writes customers' files for the servers under test, and the requests that a PBX would send for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from benchmarks.load import Ask, get
from middleware.receivers.registry import RECEIVERS

SECRET = "s" * 43  # of every customer: as long as those that m8crm makes
UNCACHED = dict.fromkeys(("cache_hit", "cache_miss", "cache_revalidate", "cache_stale"), "0s")
_DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()


def add_customer(
    folder: Path,
    tenant: str,
    urls: Mapping[str, str] | str,
    *,
    adapter: str = "stub",
    budget: str = "none",
    **lookup: str | int | bool,
) -> None:
    """Write a customer with one CRM at ``urls``, or several by name, and what ``[lookup]`` shall hold."""
    sources = {adapter: urls} if isinstance(urls, str) else urls
    lines = ['name = "Customer"', 'region = "SE"', "[secrets]"]
    lines += [f'{receiver} = ["sha256:{_DIGEST}"]' for receiver in sorted({r.secret for r in RECEIVERS.values()})]
    lines.append("[lookup]")
    lines += [f"{key} = {_toml(value)}" for key, value in lookup.items()]
    for name, url in sources.items():
        lines += ["[[crm]]", f'adapter = "{adapter}"', f'name = "{name}"', f'url = "{url}"', f'budget = "{budget}"']
    (folder / "customers").mkdir(parents=True, exist_ok=True)
    (folder / "customers" / f"{tenant}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def number_of(index: int) -> str:
    """Return a Swedish mobile number in E.164; every index has its own."""
    return f"+4670{index:07}"


def ask_m8crm(tenant: str, number: str, *, headers: str = "", kind: str = "", expect: str | None = None) -> Ask:
    """Return the lookup that M8Com sends; right when the number stands in the answer.  ``headers`` end with CRLF."""
    path = f"/{tenant}/lookup?fromNumber={quote(number)}"
    return get(path, bearer=SECRET, headers=headers, expect=(expect or number).encode(), kind=kind)


def _toml(value: str | int | bool) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
