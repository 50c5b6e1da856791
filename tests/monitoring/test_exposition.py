"""``/-/metrics`` and ``/-/ready``: what is counted, how the installation stands, and who may know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from middleware import __version__
from middleware.errors import StorageError
from middleware.inbox.tables import delivery, lane
from tests.conftest import House, call_log

TOKEN = "a-token-for-Prometheus"


@pytest.fixture
def watched(house: House) -> House:
    parts = house.parts
    house.app.extensions["m8crm"] = replace(parts, settings=replace(parts.settings, metrics_token=TOKEN))
    return house


def scrape(house: House) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what Prometheus reads: by sample and by the values of its labels, in the order of their names."""
    answer = house.client.get("/-/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    read: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        for sample in family.samples:
            read.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return read


def test_a_lookup_and_a_call_are_counted_all_the_way(watched: House) -> None:
    """A lookup, an event that comes twice and its delivery are in the metrics of the process that did them."""
    watched.lookup()
    watched.lookup()
    watched.lookup("+46700000000")
    watched.post(call_log())
    watched.post(call_log())
    watched.post({"fromNumber": 5})
    watched.deliver()
    read = scrape(watched)
    assert read["m8crm_lookups_total"] == {
        ("miss", "nordlys", "hit"): 1,
        ("fresh", "nordlys", "hit"): 1,
        ("miss", "nordlys", "miss"): 1,
    }
    assert read["m8crm_lookup_seconds_count"] == {("fresh",): 1, ("miss",): 2}
    assert read["m8crm_lookup_seconds_bucket"]["miss", "+Inf"] == 2
    assert read["m8crm_events_total"] == {
        ("nordlys", "accepted", "calllog"): 1,
        ("nordlys", "duplicate", "calllog"): 1,
        ("nordlys", "quarantined", "calllog"): 1,
    }
    assert list(read["m8crm_delivery_attempts_total"].values()) == [1]
    assert list(read["m8crm_delivery_attempt_seconds_count"].values()) == [1]
    assert read["m8crm_crm_requests_total"]["sql", "answered"] >= 3
    assert read["m8crm_inbox"]["delivered",] == 1


def test_the_installation_stands_in_the_metrics(watched: House) -> None:
    """Dead letters, pauses and the build are told, each with its labels."""
    watched.post(call_log())
    watched.deliver()
    with watched.parts.inbox.database.write() as connection:
        connection.execute(delivery.update().values(state="dead"))
        connection.execute(lane.update().values(paused_revision="1"))
    read = scrape(watched)
    assert read["m8crm_dead_letters"] == {("nordlys",): 1}
    assert list(read["m8crm_paused"].values()) == [1]
    assert read["m8crm_build_info"] == {(__version__,): 1}
    assert read["m8crm_database_up"] == {(): 1}
    assert read["m8crm_disk_free_bytes"][()] > 0


def test_a_broken_database_leaves_the_counts(watched: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database fails Prometheus hears so, and of all that needs no database."""

    def fail() -> Any:
        raise StorageError("down")

    watched.lookup()
    monkeypatch.setattr(watched.parts.inbox.database, "read", fail)
    read = scrape(watched)
    assert read["m8crm_database_up"] == {(): 0}
    assert read["m8crm_lookups_total"]
    assert "m8crm_oldest_due_seconds" not in read


def test_an_event_that_cannot_be_stored_is_counted_as_refused(watched: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that were answered 503 are seen."""

    def fail() -> Any:
        raise StorageError("full")

    with monkeypatch.context() as patch:
        patch.setattr(watched.parts.inbox.database, "write", fail)
        assert watched.post(call_log()).status_code == 503
    assert scrape(watched)["m8crm_events_total"] == {("nordlys", "refused", "calllog"): 1}


def test_without_a_token_there_are_no_metrics(house: House) -> None:
    """An installation that says nothing exposes nothing, whoever asks."""
    assert house.client.get("/-/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer \xe5"])
def test_only_the_token_opens_the_metrics(watched: House, authorization: str) -> None:
    """Without the right token the answer is 401 and names nobody."""
    watched.lookup()
    answer = watched.client.get("/-/metrics", headers={"Authorization": authorization} if authorization else {})
    assert answer.status_code == 401
    assert "nordlys" not in answer.get_data(as_text=True)


def test_openmetrics_is_spoken_too(watched: House) -> None:
    """Who asks for OpenMetrics gets it, to its end."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/openmetrics-text; version=1.0.0"}
    answer = watched.client.get("/-/metrics", headers=headers)
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.get_data(as_text=True).endswith("# EOF\n")


def test_ready_tells_how_it_stands_and_names_nobody(watched: House) -> None:
    """The detail has figures of all that may be stuck, and no customer."""
    watched.post(call_log())
    watched.deliver()
    with watched.parts.inbox.database.write() as connection:
        connection.execute(delivery.update().values(state="dead"))
        connection.execute(lane.update().values(paused_revision="1"))
    answer = watched.client.get("/-/ready")
    told = answer.get_json()
    assert answer.status_code == 200
    assert (told["dead_letters"], told["paused_customers"], told["database"]) == (1, 1, "ok")
    assert (told["oldest_due_seconds"], told["lost_recordings"]) == (0.0, 0)
    assert told["disk"]["free_bytes"] > 0
    assert "nordlys" not in answer.get_data(as_text=True)


def test_a_low_disk_is_told_and_does_not_end_the_service(watched: House) -> None:
    """What is bad but still works answers 200."""
    parts = watched.parts
    settings = replace(parts.settings, alarm_disk=1 << 62)
    watched.app.extensions["m8crm"] = replace(parts, settings=settings)
    answer = watched.client.get("/-/ready")
    assert (answer.status_code, answer.get_json()["disk"]["is_low"]) == (200, True)
