"""``lookup``, ``trace`` and ``cache``, without a server."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from middleware.lookup.trace import Trace
from middleware.model.call import LookupQuery
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.parts import build_parts
from middleware.settings import load_settings
from tests.cli.conftest import Run, told

KNOWN, UNKNOWN = "+46701740605", "+46701740699"


def test_a_hit_is_shown(run: Run, demo_folder: Path) -> None:
    """A lookup shows the card that M8Com would get, and ends with status 0."""
    result = run("lookup", "nordlys", KNOWN)
    assert result.exit_code == 0, result.output
    for text in ("Maria Andersson", "Fjällbris Konsult AB", "070-174 06 05", "Avtal", "m8crm trace"):
        assert text in result.output, demo_folder


def test_a_hit_for_scripts(run: Run, demo_folder: Path) -> None:
    """A lookup with --json has the outcome, the card and where the time went."""
    result = told(run("lookup", "nordlys", "070-174 06 05", "--json"))
    assert result["outcome"] == "hit", demo_folder
    assert result["card"]["displayName"] == "Maria Andersson"
    assert {span["name"] for span in result["trace"]["steps"]} >= {"contact", "notes", "deals"}


def test_a_miss_is_a_sentence(run: Run, demo_folder: Path) -> None:
    """A miss says why in a sentence and ends with status 1."""
    for number, words in ((UNKNOWN, "Nobody"), ("anonymous", "The number is anonymous")):
        result = run("lookup", "nordlys", number)
        assert result.exit_code == 1, demo_folder
        assert words in result.output


def test_a_failure_is_no_miss(run: Run, demo_folder: Path) -> None:
    """A CRM that fails ends with status 2, and is not called a miss."""
    (demo_folder / "crm" / "nordlys.db").write_bytes(b"no database at all" * 100)
    result = run("lookup", "nordlys", KNOWN, "--json")
    assert result.exit_code == 2
    assert told(result)["outcome"] == "failed"
    assert told(result)["card"] is None


def test_an_id_is_looked_up(run: Run, demo_folder: Path) -> None:
    """What a caller typed on the way in is handed to the CRM."""
    assert run("lookup", "nordlys", "anonymous", "--id", "nobody-has-this").exit_code == 1, demo_folder
    assert run("lookup", "nordlys", "anonymous", "--id", "konf-4").exit_code == 0


def test_an_unknown_customer_is_named(run: Run, demo_folder: Path) -> None:
    """A customer that is not there, or whose file is broken, ends with status 2 and what to do."""
    assert "tenant list" in run("lookup", "nobody", KNOWN).stderr
    (demo_folder / "customers" / "nordlys.toml").write_text("name =", encoding="utf-8")
    result = run("lookup", "nordlys", KNOWN)
    assert result.exit_code == 2
    assert "nordlys.toml: is not TOML" in result.stderr


def test_steps_are_explained(run: Run, demo_folder: Path) -> None:
    """``--explain`` shows who was asked for which spelling, by which requests, what came and what is not shown."""
    shown = run("lookup", "nordlys", KNOWN, "--explain").output
    wanted = ("e164: 1 of", "notes", "deals", "█", "  request", "assembly", "answer", "ms of the budget were left")
    for words in (*wanted, "not shown: sql: 3 of 13 notes: the latest ten are shown"):
        assert words in shown, demo_folder


def test_lookup_leaves_a_trace(run: Run, demo_folder: Path) -> None:
    """A lookup can be explained afterwards, by its id, its customer or its number, without showing the number."""
    trace_id = told(run("lookup", "nordlys", UNKNOWN, "--json"))["trace"]["id"]
    run("lookup", "harbour", "+442079460001")
    shown = run("trace", trace_id)
    assert shown.exit_code == 0, demo_folder
    assert "miss" in shown.output
    assert "Nobody in the CRM has this number." in shown.output
    assert "contact" in shown.output
    (found,) = told(run("trace", "--customer", "nordlys", "--number", "070-174 06 99", "--json"))
    assert found["id"] == trace_id
    assert found["steps"]
    everything = run("trace")
    assert trace_id in everything.output
    assert "harbour" in everything.output
    for output in (shown.output, everything.output, run("trace", "--json").output):
        assert UNKNOWN[1:] not in output


def test_an_unknown_trace_is_named(run: Run, demo_folder: Path) -> None:
    """An id that left no trace, and a number that could be anywhere, are told what to do."""
    result = run("trace", "no-such-id")
    assert result.exit_code == 2, demo_folder
    assert "has left no such trace here" in result.stderr
    assert "No traces in" in run("trace").output
    assert "name the --customer" in run("trace", "--number", "070-174 06 05").stderr


def test_what_is_forgotten_is_asked_again(run: Run, demo_folder: Path) -> None:
    """``cache forget`` reaches a running process: its next answer is not from the cache."""
    parts = build_parts(load_settings(demo_folder))
    tenant = parts.tenants.get("nordlys")
    assert tenant

    def cache() -> str:
        trace = Trace()
        query = LookupQuery(number=parse_number(KNOWN, "SE"))
        parts.lookups.lookup(tenant, query, Deadline.after(tenant.lookup.budget), trace)
        return trace.cache

    assert [cache(), cache()] == ["miss", "fresh"]
    assert told(run("cache", "forget", "nordlys", UNKNOWN, "--json"))["redis"] is None
    assert cache() == "fresh"
    assert "Forgotten" in run("cache", "forget", "nordlys", "070-174 06 05").output
    assert [cache(), cache()] == ["miss", "fresh"]
    run("cache", "forget", "nordlys")
    assert cache() == "miss"
    parts.close()


@pytest.mark.parametrize("mishap", ["gone", "broken"])
def test_customer_without_a_file_is_forgotten(
    run: Run, demo_folder: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch, mishap: str
) -> None:
    """The cards in Redis of a customer whose file is gone or broken can be forgotten, by his id and E.164."""
    parts = build_parts(replace(load_settings(demo_folder), redis_url=redis_server))
    tenant = parts.tenants.get("nordlys")
    assert tenant
    monkeypatch.setenv("M8CRM_REDIS_URL", redis_server)
    file = demo_folder / "customers" / "nordlys.toml"
    file.unlink() if mishap == "gone" else file.write_text("name =", encoding="utf-8")
    (demo_folder / "customers-good" / "nordlys.toml").unlink()
    with redis.Redis.from_url(redis_server) as client:
        for number in ((KNOWN,), ()):
            query = LookupQuery(number=parse_number(KNOWN, "SE"))
            parts.lookups.lookup(tenant, query, Deadline.after(tenant.lookup.budget), Trace())
            while not client.keys("m8crm:answers:nordlys:*"):
                pass  # pytest's time-out ends it
            result = run("cache", "forget", "nordlys", *number)
            assert result.exit_code == 0, result.output
            assert client.keys("m8crm:answers:*") == []
    assert "tenant list" in result.stderr
    assert "with + and its country" in run("cache", "forget", "nordlys", "070-174 06 05").stderr
    assert run("cache", "forget", "NOT*AN*ID").exit_code == 2
    parts.close()


def test_lookup_asks_the_crm_whatever_redis_has(
    run: Run, demo_folder: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup by hand shows the CRM's answer and its steps, though another machine has shared one."""
    parts = build_parts(replace(load_settings(demo_folder), redis_url=redis_server))
    tenant = parts.tenants.get("nordlys")
    assert tenant
    query = LookupQuery(number=parse_number(KNOWN, "SE"))
    parts.lookups.lookup(tenant, query, Deadline.after(tenant.lookup.budget), Trace())
    with redis.Redis.from_url(redis_server) as client:
        while not any(name.startswith(b"a") for key in client.keys("m8crm:answers:*") for name in client.hkeys(key)):
            pass  # pytest's time-out ends it
    monkeypatch.setenv("M8CRM_REDIS_URL", redis_server)
    told_of = told(run("lookup", "nordlys", KNOWN, "--json"))["trace"]
    assert told_of["cache"] == "miss"
    assert {step["name"] for step in told_of["steps"]} >= {"contact", "notes"}
    parts.close()


def test_what_cannot_be_meant_is_refused(run: Run, demo_folder: Path) -> None:
    """A slip of the keyboard is told, and not taken for "there is nothing"."""
    assert run("trace", "--customer", "nobody").exit_code == 2, demo_folder
    assert run("trace", "--limit", "0").exit_code == 2
    for command in (["trace", "--customer", "nordlys", "--number", "12"], ["cache", "forget", "nordlys", "12"]):
        result = run(*command)
        assert result.exit_code == 2
        assert "is no number" in result.stderr
    assert str(demo_folder) in run("trace").output


def test_times_are_the_readers(run: Run, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """List and page show a lookup's moment alike, in the zone of who reads."""
    trace_id = told(run("lookup", "nordlys", KNOWN, "--json"))["trace"]["id"]
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    page, listed = run("trace", trace_id).output, run("trace").output
    monkeypatch.undo()
    time.tzset()
    assert "JST" in page, demo_folder
    moment = re.search(r"(\d\d-\d\d \d\d:\d\d:\d\d)", listed)
    assert moment
    assert moment[1] in page
