"""The number index of a CRM with 200,000 contacts: built from a local database, and found in while that is away."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.customers import SECRET
from benchmarks.table import Figure, say, spread
from middleware.crm.context import build_context
from middleware.lookup.verify import find_verified
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.parts import Parts, build_parts
from middleware.settings import load_settings
from middleware.tenants.secrets import digest
from middleware.tenants.tenant import Tenant

CONTACTS = 200_000
BUILD_S, P99_MS = 60.0, 1.0
LOOKUPS = 5_000
SEARCHES = 50  # of the control: each reads the whole table
CHANGED = "2026-01-15 12:00:00"
SINGLE = 2_000  # contacts of the other control, a transaction for each
CUSTOMER = """
name = "Customer"
region = "SE"
[secrets]
insights = ["{digest}"]
[[crm]]
adapter = "sql"
url = "sqlite:///{crm}"
index = true
[crm.queries]
find_contacts = '''
SELECT id, name AS display_name, company, email, phone AS number, mobile AS number_2 FROM person
WHERE replace(replace(phone, ' ', ''), '-', '') LIKE '%' || :suffix
   OR replace(replace(mobile, ' ', ''), '-', '') LIKE '%' || :suffix'''
iter_contacts = '''
SELECT id, name AS display_name, company, email, phone AS number, mobile AS number_2, updated AS updated_at
FROM person WHERE updated >= datetime(:since) ORDER BY id LIMIT :limit OFFSET :offset'''
"""


def measure(rounds: int) -> list[Figure]:
    """Build the index and look numbers up; each round begins without one."""
    samples: dict[str, list[float]] = {}
    with TemporaryDirectory(prefix="m8crm-index-") as name:
        folder = Path(name)
        crm = folder / "crm.db"
        _fill(crm)
        for number in range(rounds):
            data = folder / str(number)
            (data / "customers").mkdir(parents=True)
            (data / "customers" / "c.toml").write_text(
                CUSTOMER.format(digest=digest(SECRET), crm=crm), encoding="utf-8"
            )
            _round(data, samples)
            latest = (f"{what} {values[-1]:,.2f}" for what, values in samples.items())
            say(f"index {number + 1}/{rounds} {', '.join(latest)}")
            shutil.rmtree(data)
    return _figures(samples)


def _figures(samples: dict[str, list[float]]) -> list[Figure]:
    build, single = samples["build s"], samples["build of single transactions s"]
    p99, search = samples["p99 ms"], samples["p99 of the CRM's own search ms"]
    memory, disk = spread(samples["memory MiB"], "MiB", 0), spread(samples["disk MiB"], "MiB", 0)
    return [
        Figure(
            what=f"number index of {CONTACTS:,} contacts, built",
            figure=f"{spread(build, 's')}; {memory} of memory, {disk} on disk",
            goal=f"≤ {BUILD_S:g} s",
            reached=median(build) <= BUILD_S,
            control=f"a transaction for each contact: {spread(single, 's', 0)}",
            control_reached=median(single) <= BUILD_S,
            samples={"m8crm": build, "control": single},
        ),
        Figure(
            what="a number found in it, p99",
            figure=f"{spread(p99, 'ms', 2)}; median {spread(samples['median ms'], 'ms', 2)}",
            goal=f"≤ {P99_MS:g} ms",
            reached=median(p99) <= P99_MS,
            control=f"the CRM's own search: {spread(search, 'ms', 0)}",
            control_reached=median(search) <= P99_MS,
            samples={"m8crm": p99, "control": search},
        ),
    ]


def _round(data: Path, samples: dict[str, list[float]]) -> None:
    told: dict[str, float] = {}
    told["build s"], told["memory MiB"] = _build(data)
    told["disk MiB"] = sum(path.stat().st_size for path in data.glob("m8crm.db*")) / 2**20
    parts = build_parts(load_settings(data))
    tenant = parts.tenants.get("c")
    assert tenant
    told["median ms"], told["p99 ms"] = _look_up(parts, tenant)
    told["p99 of the CRM's own search ms"] = _search(tenant)
    told["build of single transactions s"] = _build_singly(parts, tenant)
    parts.close()
    for what, value in told.items():
        samples.setdefault(what, []).append(value)


def _build(data: Path) -> tuple[float, float]:
    """Build as a hoster does; return the seconds, and the most memory (MiB) that it took."""
    command = [sys.executable, "-m", "middleware.cli", "--data", str(data), "index", "build", "c", "--json"]
    begin = time.perf_counter()
    built = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert built.stdout
    told = json.loads(built.stdout.read())
    _, status, usage = os.wait4(built.pid, 0)
    took = time.perf_counter() - begin
    assert status == 0, f"the build ended with {status}"
    assert told[0]["contacts"] == CONTACTS, told
    return took, usage.ru_maxrss / 1024


def _look_up(parts: Parts, tenant: Tenant) -> tuple[float, float]:
    times = []
    for place in random.choices(range(CONTACTS), k=LOOKUPS):
        number = parse_number(_mobile(place), "SE")
        begin = time.perf_counter()
        found = parts.index.find(tenant, tenant.sources[0], number)
        times.append((time.perf_counter() - begin) * 1000)
        assert [contact.id for contact in found.contacts] == [str(place)], "the index finds somebody else"
    return median(times), _p99(times)


def _search(tenant: Tenant) -> float:
    times = []
    adapter = tenant.sources[0].adapter
    for place in random.choices(range(CONTACTS), k=SEARCHES):
        ctx = build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=60)))
        begin = time.perf_counter()
        contacts, _ = find_verified(adapter, parse_number(_mobile(place), "SE"), "e164", ctx)
        times.append((time.perf_counter() - begin) * 1000)
        assert len(contacts) == 1
    return _p99(times)


def _build_singly(parts: Parts, tenant: Tenant) -> float:
    """Store some contacts, each in a transaction of its own; return what all would take."""
    lease = parts.index.claim(tenant, tenant.sources[0], is_forced=True)
    assert lease
    ctx = build_context(tenant.sources[0].adapter, region="SE", deadline=Deadline.after(timedelta(seconds=60)))
    contacts = list(islice(tenant.sources[0].adapter.iter_contacts(None, ctx), SINGLE))
    begin = time.perf_counter()
    for contact in contacts:
        parts.index.write(lease, [replace(contact, title="anew")], 9)
    return (time.perf_counter() - begin) * CONTACTS / SINGLE


def _fill(crm: Path) -> None:
    """Make up a CRM whose numbers are written as people write them."""
    with closing(sqlite3.connect(crm)) as database, database:
        database.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name, company, email, phone, mobile, updated)")
        people = (
            (
                i,
                f"Person {i}",
                f"Company {i % 5000}",
                f"p{i}@example.com",
                f"08-{i:06}",
                _mobile(i),
                "2026-01-15 12:00:00",
            )
            for i in range(CONTACTS)
        )
        database.executemany("INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?)", people)
        database.execute("CREATE INDEX person_updated ON person (updated)")


def _mobile(place: int) -> str:
    digits = f"{place:07}"
    return f"070-{digits[:3]} {digits[3:5]} {digits[5:]}"


def _p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]
