"""What a schema does not understand: kept, shown with its field errors, delivered once a new version knows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from middleware.cli import main
from middleware.model.call import CallEvent
from middleware.receivers.registry import RECEIVERS
from tests.conftest import House
from tests.web.sending import SENDERS, sample, send

pytestmark = pytest.mark.parametrize("sender", SENDERS)
BROKEN = {  # a field whose new shape no schema knows yet
    "calllog": "startTime",
    "recording": "id",
    "pbx": "unique_call_id",
    "cdr": "id",
    "postcall": "callId",
}


def broken(sender: str) -> dict[str, Any]:
    """Return the sample as a sender of tomorrow might send it."""
    body = sample(sender)
    place = body["cdr"] if sender == "cdr" else body
    place[BROKEN[sender]] = {"is": place[BROKEN[sender]]}
    return body


def understanding(parse: Callable[[object], CallEvent]) -> Callable[[object], CallEvent]:
    """Return ``parse`` as a new version has it, that knows the field's new shape."""
    return lambda document: parse(_repaired(document))


def _repaired(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return value["is"] if list(value) == ["is"] else {key: _repaired(inner) for key, inner in value.items()}


def run(house: House, *arguments: str) -> Result:
    result = CliRunner().invoke(main, ["--data", str(house.folder), *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_event_is_delivered_after_an_upgrade(house: House, sender: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarantined event is shown with its field's name, stays so as long as nothing is mended, and then is a call."""
    raw = json.dumps(broken(sender)).encode()
    answer = send(house, sender, raw)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "quarantined")
    event_id = answer.get_json()["id"]
    for _ in range(2):
        shown = run(house, "events", "show", event_id).output
        assert "quarantined" in shown
        assert BROKEN[sender] in shown
        assert run(house, "events", "retry", event_id).output == "1 will be tried at once.\n"
        assert house.deliver() == 0
    receiver = RECEIVERS[sender]
    monkeypatch.setitem(RECEIVERS, sender, replace(receiver, parse=understanding(receiver.parse)))
    run(house, "events", "retry", "--state", "quarantined")
    house.deliver()
    event = house.parts.inbox.find_event(event_id)
    assert event
    assert event.raw == raw
    assert BROKEN[sender] not in (event.reason or "")
    assert event.state == ("waiting" if sender == "postcall" else "delivered")  # that waits for who knows the start


def test_event_that_is_sent_again_after_an_upgrade_is_the_same_call(
    house: House, sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that repeats what was quarantined, and what it tells of that call later, makes no second call."""
    first = send(house, sender, broken(sender)).get_json()["id"]
    receiver = RECEIVERS[sender]
    monkeypatch.setitem(RECEIVERS, sender, replace(receiver, parse=understanding(receiver.parse)))
    second = send(house, sender, sample(sender)).get_json()["id"]
    run(house, "events", "retry", first)
    house.deliver()
    told = [house.parts.inbox.find_event(event_id) for event_id in (first, second)]
    assert len({event.external_id for event in told if event}) == 1
    with house.parts.inbox.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM call").scalar() == 1
