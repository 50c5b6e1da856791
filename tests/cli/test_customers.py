"""``check``, ``tenant`` and ``adapters``."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from middleware.crm.base import Context
from middleware.demo.data import load_secrets
from middleware.errors import CRMAuthError
from middleware.tenants.config import load_tenant
from middleware.tenants.secrets import verify
from tests.cli.conftest import Run, told


def test_a_right_folder_passes(run: Run, demo_folder: Path) -> None:
    """Check says of every customer's file that it is right, and asks no CRM unless told to."""
    (demo_folder / "crm" / "nordlys.db").unlink()
    result = run("check", "--json")
    assert result.exit_code == 0, result.output
    assert {finding["where"] for finding in told(result)["findings"]} == {"nordlys.toml", "harbour.toml"}


def test_every_fault_is_named(run: Run, demo_folder: Path) -> None:
    """Check names file, line and key of every fault of every file, and ends with status 1."""
    for name, old, new in (("nordlys", 'miss = "404"', 'miss = "405"'), ("harbour", "several", "severl")):
        path = demo_folder / "customers" / f"{name}.toml"
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    result = run("check")
    assert result.exit_code == 1
    assert "nordlys.toml: line 16: lookup.miss" in result.output
    assert "harbour.toml: line 15: lookup.severl: is unknown; did you mean 'several'?" in result.output


def test_a_file_that_no_url_can_reach_is_named(run: Run, demo_folder: Path) -> None:
    """A file whose name is no customer id is a fault: nobody would be answered from it."""
    (demo_folder / "customers" / "Acme AB.toml").write_text("", encoding="utf-8")
    result = run("check", "--json")
    assert result.exit_code == 1
    assert [f["where"] for f in told(result)["findings"] if not f["ok"]] == ["Acme AB.toml"]


def test_an_adapter_that_breaks_is_a_finding(run: Run, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault inside an adapter is told by its class and does not end the check of the others."""

    def refuse(*_: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr("adapters.sql.SQLAdapter.__init__", refuse)
    result = run("check", "--json")
    assert result.exit_code == 1
    assert len(told(result)["findings"]) == len(list((demo_folder / "customers").glob("*.toml")))
    assert "KeyError" in result.output
    assert "hunter2" not in result.output


def test_live_asks_the_crm(run: Run, demo_folder: Path) -> None:
    """Check --live tells that a CRM cannot do what the file says."""
    assert run("check", "--live").exit_code == 0
    path = demo_folder / "customers" / "harbour.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("FROM calls", "FROM nowhere"), encoding="utf-8")
    result = run("check", "--live", "--json")
    wrong = [finding for finding in told(result)["findings"] if not finding["ok"]]
    assert result.exit_code == 1
    assert wrong
    assert all(finding["where"].startswith("harbour.toml") for finding in wrong)


def test_live_asks_all_of_a_crm_that_is_down(run: Run, demo_folder: Path) -> None:
    """Check --live tells of every query what is wrong with it, and not that it was not asked after five failures."""
    (demo_folder / "crm" / "nordlys.db").unlink()
    wrong = [finding["message"] for finding in told(run("check", "--live", "--json"))["findings"] if not finding["ok"]]
    assert len(wrong) > 5
    assert {message.partition(": ")[2] for message in wrong} == {"the database's file is not there"}


def _check_by(monkeypatch: pytest.MonkeyPatch, check: Any) -> None:
    monkeypatch.setattr("adapters.sql.SQLAdapter.check", check)


def test_live_survives_what_an_adapter_raises(run: Run, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check --live shows the CRM's own words, and of an adapter's fault only the class."""

    def refuse(adapter: Any, _ctx: Context) -> list[Any]:
        if "nordlys" in adapter.settings.url.reveal():
            raise CRMAuthError("refused", vendor_text="token expired")
        raise ValueError("hunter2")

    _check_by(monkeypatch, refuse)
    result = run("check", "--live")
    assert result.exit_code == 1, demo_folder
    assert "token expired" in result.output
    assert "ValueError" in result.output
    assert "hunter2" not in result.output


def test_live_does_not_wait_for_ever(run: Run, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check --live gives a CRM that never answers up at its deadline."""
    never = Event()
    _check_by(monkeypatch, lambda *_: [never.wait()])
    monkeypatch.setattr("middleware.cli.customers.LIVE_SECONDS", 0.0)
    result = run("check", "--live")
    never.set()
    assert result.exit_code == 1, demo_folder
    assert "no answer" in result.output


def test_a_broken_adapter_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that cannot be loaded is shown with its reason, and fails the check."""
    monkeypatch.setattr("middleware.crm.registry.broken_adapters", lambda: {"adapters.acme": "ImportError: soap"})
    assert told(run("adapters", "--json"))["broken"] == {"adapters.acme": "ImportError: soap"}
    assert "adapters.acme: ImportError: soap" in run("adapters").output
    assert run("check").exit_code == 1


def test_adapters_show_what_they_can(run: Run) -> None:
    """The matrix has every adapter with what it can do."""
    assert "log_call" in told(run("adapters", "--json"))["adapters"]["sql"]["can"]
    assert "find_contact_by_id" in run("adapters").output


def test_a_new_customer_can_be_called(run: Run, folder: Path) -> None:
    """`tenant add` writes a file that is right, and prints the URLs and the secret that open it."""
    block = told(run("tenant", "add", "acme", "--name", 'Acme "AB"', "--region", "SE", "--json"))
    tenant = load_tenant(folder / "customers" / "acme.toml")
    assert tenant.name == 'Acme "AB"'
    assert verify(tenant, "insights", block["secret"].encode())
    assert block["lookup"].endswith("/acme/lookup")
    assert block["calllog"].endswith("/acme/calllog")


def test_the_block_for_customer_care(run: Run) -> None:
    """`tenant add` tells people where each part goes."""
    output = run("tenant", "add", "acme", "--name", "Acme", "--region", "SE").output
    assert "Organisation Settings / Insights" in output
    assert "Superadmin" in output
    assert "/acme/lookup" in output
    assert "/acme/calllog" in output


@pytest.mark.parametrize(("tenant_id", "region"), [("Acme", "SE"), ("../acme", "SE"), ("acme", "XX")])
def test_a_bad_customer_leaves_nothing(run: Run, folder: Path, tenant_id: str, region: str) -> None:
    """`tenant add` refuses a bad id or region with status 2 and leaves no file."""
    result = run("tenant", "add", tenant_id, "--name", "Acme", "--region", region)
    assert result.exit_code == 2
    assert not list(folder.rglob("*.toml"))


def test_a_customer_is_never_overwritten(run: Run, demo_folder: Path) -> None:
    """`tenant add` refuses an id that is taken."""
    before = (demo_folder / "customers" / "nordlys.toml").read_bytes()
    assert run("tenant", "add", "nordlys", "--name", "Other", "--region", "SE").exit_code == 2
    assert (demo_folder / "customers" / "nordlys.toml").read_bytes() == before


def test_a_secret_is_replaced_without_a_gap(run: Run, demo_folder: Path) -> None:
    """A new secret is valid beside the old one until that is revoked; only the first digits tell them apart."""
    path, old = demo_folder / "customers" / "harbour.toml", load_secrets(demo_folder)["harbour"]["insights"]
    first = told(run("tenant", "secret", "harbour", "--list", "--json"))["insights"][0]
    new = told(run("tenant", "secret", "harbour", "--json"))["secret"]
    assert all(verify(load_tenant(path), "insights", secret.encode()) for secret in (old, new))
    result = run("tenant", "secret", "harbour", "--revoke", first)
    assert result.exit_code == 0, result.output
    assert new not in result.output
    assert not verify(load_tenant(path), "insights", old.encode())
    assert verify(load_tenant(path), "insights", new.encode())


def test_the_last_secret_stays(run: Run, demo_folder: Path) -> None:
    """The last secret cannot be revoked: nobody could call any more."""
    first = told(run("tenant", "secret", "harbour", "--list", "--json"))["insights"][0]
    assert run("tenant", "secret", "harbour", "--revoke", first).exit_code == 2
    load_tenant(demo_folder / "customers" / "harbour.toml")


def test_a_broken_customer_is_listed(run: Run, demo_folder: Path) -> None:
    """`tenant list` shows every customer, one with a broken file with its fault."""
    (demo_folder / "customers" / "harbour.toml").write_text("name =", encoding="utf-8")
    listed = {row["id"]: row for row in told(run("tenant", "list", "--json"))}
    assert listed["nordlys"]["problem"] is None
    assert listed["nordlys"]["name"] == "Nordlys AB"
    assert "harbour.toml" in listed["harbour"]["problem"]


def test_a_setting_is_changed(run: Run, demo_folder: Path) -> None:
    """`m8crm tenant set` changes what is given, says so, and names what cannot be."""
    result = run("tenant", "set", "nordlys", "--region", "no", "--own-numbers", "", "--json")
    assert told(result) == {"id": "nordlys", "changed": ["region", "own_numbers"]}
    tenant = load_tenant(demo_folder / "customers" / "nordlys.toml")
    assert (tenant.region, tenant.own_numbers, tenant.name) == ("NO", frozenset(), "Nordlys AB")
    assert run("tenant", "set", "nordlys", "--region", "NO").output == "Nothing is other than it was.\n"
    refused = run("tenant", "set", "nordlys", "--timezone", "Mars/Base")
    assert refused.exit_code != 0
    assert "timezone: is unknown" in refused.output
