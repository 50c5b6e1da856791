"""Customers' files: strict, clear about faults, and never an outage."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from middleware.crm.account import Accounts
from middleware.crm.settings import Secret
from middleware.errors import ConfigError
from middleware.tenants.config import load_tenant, read_tenant
from middleware.tenants.files import add_secret, create_tenant, list_secrets, revoke_secret
from middleware.tenants.registry import GONE_AFTER, LOOK_EVERY, Tenants
from middleware.tenants.secrets import digest, verify
from middleware.tenants.tenant import Tenant

GOOD = f"""
name = "Acme AB"
region = "SE"
timezone = "Europe/Stockholm"
own_numbers = ["08-465 004 00"]
[secrets]
insights = ["{digest("first-long-secret-text")}", {{ env = "ACME_SECRET" }}, {{ file = "acme.secret" }}]
[lookup]
budget = "2.5s"
cache_hit = "10m"
[[crm]]
adapter = "sql"
url = "sqlite://"
[crm.queries]
find_contacts = "SELECT 1 AS id WHERE :suffix = ''"
log_call = "SELECT :key"
[calls]
unknown = "ignore"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACME_SECRET", "second-long-secret-text")
    (tmp_path / "acme.secret").write_text("third-long-secret-text\n")
    path = tmp_path / "acme.toml"
    path.write_text(GOOD)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_tenant(path)
    assert caught.value.where == path.name
    return caught.value.problems


def test_good_file_becomes_a_tenant(file: Path) -> None:
    """Every table of the file is in the tenant."""
    tenant = load_tenant(file)
    assert (tenant.id, tenant.name, tenant.region, tenant.timezone.key) == ("acme", "Acme AB", "SE", "Europe/Stockholm")
    assert tenant.own_numbers == {"+46846500400"}
    assert tenant.lookup.budget == timedelta(seconds=2.5)
    assert (tenant.calls.log_to, tenant.calls.unknown) == (("sql",), "ignore")


def test_all_secrets_are_valid_at_once_wherever_they_lie(file: Path) -> None:
    """Digest, variable and file are secrets alike; nothing else is."""
    tenant = load_tenant(file)
    right = ["first-long-secret-text", "second-long-secret-text", "third-long-secret-text"]
    assert [verify(tenant, "insights", secret.encode()) for secret in right] == [True, True, True]
    for wrong in ("", "nope", "å" * 9, "x" * 8192, "first-long-secret-text,second-long-secret-text"):
        assert not verify(tenant, "insights", wrong.encode())
        assert not verify(None, "insights", wrong.encode())
    assert not verify(tenant, "pbx", right[0].encode())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "Acme AB"', "", "name: Missing data"),
        ('region = "SE"', 'region = "Sweden"', "region: Write a country"),
        ('"Europe/Stockholm"', '"Europe/Göteborg"', "timezone: is unknown"),
        ('budget = "2.5s"', 'budgett = "2.5s"', "lookup.budgett: is unknown; did you mean 'budget'?"),
        ('budget = "2.5s"', 'budget = "2.9s"', "at most 2.8s"),
        ('budget = "2.5s"', "budget = 2.5", "lookup.budget: Write a span"),
        ('budget = "2.5s"', 'miss = "500"', "lookup.miss: Must be one of: 404, 204, empty"),
        ('adapter = "sql"', 'adapter = "sqll"', "did you mean 'sql'?"),
        ('adapter = "sql"', "", "crm entry 1.adapter: known: "),
        ("find_contacts =", "find_contact =", "queries.find_contact: is unknown"),
        (":suffix", ":sufix", "unknown parameter :sufix; known: :double_zero"),
        (":suffix =", "? =", "use named parameters"),
        ('url = "sqlite://"', 'url = "nonsense"', "url: SQLAlchemy cannot use it"),
        ('url = "sqlite://"', 'url = { env = "NOT_SET" }', "set the variable NOT_SET"),
        ('url = "sqlite://"', 'url = "sqlite://"\ntoken = "x"', "crm entry 1.token: is unknown; remove it"),
        ('file = "acme.secret"', 'file = "gone.secret"', "make the file"),
        (f'"{digest("first-long-secret-text")}"', '"my-plain-secret-text"', "m8crm tenant secret makes one"),
        ("insights = [", "pbxx = [", "secrets.pbxx: is no receiver"),
        ('unknown = "ignore"', 'log_to = ["hubspot"]', "calls.log_to: 'hubspot' is no [[crm]] that can log calls"),
        ('"08-465 004 00"', '"reception"', "own_numbers: entry 1 is no phone number"),
        ("[lookup]", "[lookup", "is not TOML"),
    ],
)
def test_every_fault_names_its_key_and_what_to_do(file: Path, old: str, new: str, says: str) -> None:
    """A wrong file says where and how to mend it, and shows no secret."""
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    told = "; ".join(problems(file))
    assert says in told
    assert "secret-text" not in told


def test_all_faults_are_told_at_once(file: Path) -> None:
    """Who mends a file need not do it in rounds."""
    file.write_text(GOOD.replace('name = "Acme AB"', "").replace("budget", "budgett"))
    assert len(problems(file)) == 2


def test_customer_without_a_secret_is_refused(file: Path) -> None:
    """A file that would let nobody in, or everybody, is wrong."""
    file.write_text('name = "A"\nregion = "SE"\n[secrets]\n')
    assert "secrets.insights: has no secret" in problems(file)[0]


def test_secret_never_shows() -> None:
    """A secret is ``***`` wherever it is printed."""
    assert [str(Secret("x")), repr(Secret("x")), f"{Secret('x')}"] == ["***"] * 3


# the registry -----------------------------------------------------------------------------------------
class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_changes_are_in_force_within_a_second_and_faults_are_not(file: Path) -> None:
    """A good change is taken, a broken one leaves the last good version in force and is told."""
    clock = Clock()
    tenants = Tenants(file.parent, clock=clock)
    first = tenants.get("acme")
    assert first is not None
    file.write_text(GOOD.replace("Acme AB", "Acme & Co"))
    clock.now += LOOK_EVERY
    second = tenants.get("acme")
    assert second is not None
    assert (second.name, second.revision != first.revision) == ("Acme & Co", True)
    file.write_text("name = ")
    clock.now += LOOK_EVERY
    assert tenants.get("acme") is second
    assert tenants.problem("acme") is not None
    file.write_text(GOOD)
    clock.now += LOOK_EVERY
    assert tenants.get("acme") is not second
    assert tenants.problem("acme") is None


def test_callers_wait_for_the_first_version_and_not_for_later_ones(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is refused while a customer's file is read for the first time; a reload holds nobody up."""
    clock, reading, go = Clock(), threading.Event(), threading.Event()

    def slowly(path: Path, accounts: Accounts) -> tuple[Tenant, list[Path]]:
        reading.set()
        assert go.wait(30)
        return read_tenant(path, accounts)

    monkeypatch.setattr("middleware.tenants.registry.read_tenant", slowly)
    tenants = Tenants(file.parent, clock=clock)
    with ThreadPoolExecutor(8) as callers:
        first = [callers.submit(tenants.get, "acme") for _ in range(8)]
        assert reading.wait(30)
        go.set()
        seen = {found.result(30) for found in first}
        assert None not in seen
        go.clear()
        file.write_text(GOOD.replace("Acme AB", "Acme & Co"))
        clock.now += LOOK_EVERY
        reading.clear()
        reload = callers.submit(tenants.get, "acme")
        assert reading.wait(30)
        assert {tenants.get("acme")} == seen
        go.set()
        changed = reload.result(30)
    assert changed is not None
    assert changed.name == "Acme & Co"


def test_changed_secret_file_is_noticed(file: Path) -> None:
    """A secret that is replaced in its own file is valid without a touch of the customer's file."""
    clock = Clock()
    tenants = Tenants(file.parent, clock=clock)
    assert not verify(tenants.get("acme"), "insights", b"fourth-long-secret-text")
    (file.parent / "acme.secret").write_text("fourth-long-secret-text")
    clock.now += LOOK_EVERY
    assert verify(tenants.get("acme"), "insights", b"fourth-long-secret-text")


def test_peek_sees_that_nothing_changed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer who is seldom asked for is known without reading, as long as his files are those that were read."""
    clock = Clock()
    tenants = Tenants(file.parent, clock=clock)
    assert tenants.peek("acme") is None
    first = tenants.get("acme")
    with monkeypatch.context() as patch:
        patch.setattr("middleware.tenants.registry.read_tenant", None)
        for _ in range(3):
            clock.now += 100 * LOOK_EVERY
            assert tenants.peek("acme") is first
    (file.parent / "acme.secret").write_text("fourth-long-secret-text")
    assert tenants.peek("acme") is first  # it looked a moment ago
    clock.now += LOOK_EVERY
    assert tenants.peek("acme") is None
    assert verify(tenants.get("acme"), "insights", b"fourth-long-secret-text")
    assert tenants.peek("acme") is tenants.get("acme")


def test_peek_leaves_what_is_wrong_to_the_slow_path(file: Path) -> None:
    """A broken file keeps its last good version and its problem, a file that is away is nobody's to peek at."""
    clock = Clock()
    tenants = Tenants(file.parent, clock=clock)
    first = tenants.get("acme")
    file.write_text("name = ")
    clock.now += LOOK_EVERY
    assert tenants.peek("acme") is None
    assert tenants.get("acme") is first
    clock.now += LOOK_EVERY
    assert tenants.peek("acme") is first
    assert tenants.problem("acme") is not None
    away = file.rename(file.with_suffix(".away"))
    clock.now += LOOK_EVERY
    assert tenants.peek("acme") is None
    assert tenants.get("acme") is first
    away.rename(file)
    clock.now += LOOK_EVERY
    assert tenants.peek("acme") is None  # so that the slow path forgets since when it was away
    assert tenants.get("acme") is first
    clock.now += GONE_AFTER
    assert tenants.peek("acme") is first


def test_peek_does_not_wait_for_a_reader(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another thread reads a new version, peeking says nothing at once."""
    clock, reading, go = Clock(), threading.Event(), threading.Event()
    tenants = Tenants(file.parent, clock=clock)
    tenants.get("acme")

    def slowly(path: Path, accounts: Accounts) -> tuple[Tenant, list[Path]]:
        reading.set()
        assert go.wait(30)
        return read_tenant(path, accounts)

    monkeypatch.setattr("middleware.tenants.registry.read_tenant", slowly)
    file.write_text(GOOD.replace("Acme AB", "Acme & Co"))
    clock.now += LOOK_EVERY
    with ThreadPoolExecutor(1) as callers:
        reload = callers.submit(tenants.get, "acme")
        assert reading.wait(30)
        assert tenants.peek("acme") is None
        go.set()
        assert reload.result(30) is tenants.peek("acme")


def test_removed_customer_is_gone_after_a_while(file: Path) -> None:
    """An editor that replaces a file does not cut the customer off; taking it away does."""
    clock = Clock()
    tenants = Tenants(file.parent, clock=clock)
    tenants.get("acme")
    file.unlink()
    clock.now += LOOK_EVERY
    assert tenants.get("acme") is not None
    clock.now += GONE_AFTER
    assert tenants.get("acme") is None


@pytest.mark.parametrize("tenant_id", ["", "..", "../acme", "ACME", "acme.toml", "a/b", "a" * 64, "acme\x00"])
def test_odd_ids_are_nobody(file: Path, tenant_id: str) -> None:
    """An id that cannot be one never becomes a path, and unknown ids leave nothing behind."""
    tenants = Tenants(file.parent)
    assert tenants.get(tenant_id) is None
    assert tenants.get("nobody") is None
    assert tenants._entries == {}
    assert tenants.ids() == ["acme"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 40), put=st.text(max_size=12))
def test_mutated_files_are_right_or_refused(file: Path, at: int, cut: int, put: str) -> None:
    """No content of a customer's file takes the process down: it is a tenant, or the last good one stays."""
    clock = Clock()
    file.write_text(GOOD)
    tenants = Tenants(file.parent, clock=clock)
    assert tenants.get("acme") is not None
    file.write_bytes((GOOD[:at] + put + GOOD[at + cut :]).encode(errors="surrogatepass"))
    clock.now += LOOK_EVERY
    assert tenants.get("acme") is not None


# writing ----------------------------------------------------------------------------------------------
def test_added_customer_can_be_read_and_called(tmp_path: Path) -> None:
    """A file that the product writes is one that it reads, whatever the name."""
    path, secret = create_tenant(tmp_path, "new-one", name='Ny "AB" \\ {x}', region="se")
    tenant = load_tenant(path)
    assert (tenant.name, tenant.region) == ('Ny "AB" \\ {x}', "SE")
    assert verify(tenant, "insights", secret.encode())
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="exists already"):
        create_tenant(tmp_path, "new-one", name="x", region="SE")
    with pytest.raises(ConfigError, match="no customer id"):
        create_tenant(tmp_path, "../x", name="x", region="SE")


def test_secrets_are_changed_with_comments_kept(tmp_path: Path) -> None:
    """A new secret is valid beside the old one; revoking takes one away, never the last."""
    path, old = create_tenant(tmp_path, "acme", name="A", region="SE")
    new = add_secret(tmp_path, "acme", "insights")
    assert all(verify(load_tenant(path), "insights", secret.encode()) for secret in (old, new))
    assert "# A change of this file" in path.read_text()
    revoke_secret(tmp_path, "acme", "insights", list_secrets(tmp_path, "acme")["insights"][0])
    assert not verify(load_tenant(path), "insights", old.encode())
    with pytest.raises(ConfigError, match="last one"):
        revoke_secret(tmp_path, "acme", "insights", list_secrets(tmp_path, "acme")["insights"][0])
    with pytest.raises(ConfigError, match="is no customer"):
        add_secret(tmp_path, "nobody", "insights")


def test_fault_of_the_reader_leaves_the_last_good_version(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks on a file, e.g. an adapter, costs the customer the change and nothing else."""
    clock = Clock()
    tenants = Tenants(file.parent, clock=clock)
    first = tenants.get("acme")

    def break_down(*_: object) -> None:
        raise TypeError("never shown")

    monkeypatch.setattr("middleware.tenants.registry.read_tenant", break_down)
    file.write_text(GOOD + "\n")
    clock.now += LOOK_EVERY
    assert tenants.get("acme") is first
    problem = tenants.problem("acme")
    assert problem is not None
    assert "TypeError" in str(problem)
    assert "never shown" not in str(problem)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "# " + "x" * 1_100_000, "larger than 1024 KiB"),
        (GOOD + "\n" + "many = " + "9" * 5000, "is not TOML"),
        (GOOD + '\n[[crm]]\nadapter = ["sql"]\n', "adapter"),
    ],
    ids=["huge", "number of 5,000 digits", "adapter that is a list"],
)
def test_what_nobody_writes_on_purpose_is_told_like_any_fault(file: Path, text: str, says: str) -> None:
    """A file from a broken program is refused in words."""
    file.write_text(text)
    assert any(says in problem for problem in problems(file))


def test_a_broken_file_hurts_no_process_that_starts_later(file: Path, tmp_path: Path) -> None:
    """Who meets a broken file first has the version that was good when another process read it."""
    good = tmp_path / "good"
    first = Tenants(file.parent, good=good).get("acme")
    assert first is not None
    file.write_text("name = ")
    later = Tenants(file.parent, good=good)
    tenant = later.get("acme")
    assert tenant is not None
    assert (tenant.name, tenant.revision) == (first.name, first.revision)
    assert later.problem("acme") is not None
    assert (good / "acme.toml").stat().st_mode & 0o077 == 0  # it may hold a CRM's token
    assert Tenants(file.parent).get("acme") is None


def test_the_copy_of_a_file_that_is_gone_is_removed(file: Path, tmp_path: Path) -> None:
    """A customer who was taken away leaves no secrets behind, and is nobody at the next start."""
    clock, good = Clock(), tmp_path / "good"
    tenants = Tenants(file.parent, good=good, clock=clock)
    assert tenants.get("acme")
    file.unlink()
    for _ in range(2):
        clock.now += GONE_AFTER
        tenants.get("acme")
    assert not (good / "acme.toml").exists()
    assert Tenants(file.parent, good=good).get("acme") is None
