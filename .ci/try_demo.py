"""Tries a running demo: every customer's numbers, a call log until it shows in a lookup, and the oracle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any


def ask(endpoint: dict[str, Any], query: dict[str, str] | None = None, body: object = None) -> tuple[int, Any]:
    """Send one request and return status and answer."""
    url = endpoint["url"] + ("?" + urllib.parse.urlencode(query) if query else "")
    data = json.dumps(body).encode() if body is not None else None
    headers = {**endpoint["headers"], "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def try_customer(customer: dict[str, Any]) -> None:
    """Look every number up, and log a call until it shows."""
    lookup, calllog = customer["endpoints"]["lookup"], customer["endpoints"]["calllog"]
    for number in customer["known_numbers"]:
        status, card = ask(lookup, {"fromNumber": number})
        assert status == 200, (number, status, card)
        assert card["displayName"], card
    assert ask(lookup, {"fromNumber": customer["unknown_number"]})[0] == 404
    number, started = customer["known_numbers"][0], round(time.time() * 1000)
    call = {"fromNumber": number, "toNumber": "+46101234567", "duration": 42_000, "startTime": started}
    call |= {"callType": "Outbound", "body": "Call from: x\nCall type: Outbound\nTalked about the weather."}
    assert ask(calllog, body=call)[1]["status"] == "accepted"
    assert ask(calllog, body=call)[1]["status"] == "duplicate"
    for _ in range(100):
        shown = [a for a in ask(lookup, {"fromNumber": number})[1]["activities"] if "weather" in a["body"]]
        if shown:
            break
        time.sleep(0.1)
    assert len(shown) == 1, shown
    assert shown[0]["duration"] == 42_000, shown


def judge(base_url: str, customer: dict[str, Any], oracle: str) -> None:
    """Let the independent judge probe the customer."""
    secret = customer["endpoints"]["lookup"]["headers"]["Authorization"].split()[1]
    command = [sys.executable, oracle, "probe", base_url, customer["id"], secret]
    numbers = [customer["known_numbers"][0], customer["unknown_number"]]
    subprocess.run([*command, *numbers], check=True)


def main() -> None:
    """Try what the demo's JSON line describes."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        demo = json.loads(file.readline())
    assert len(demo["customers"]) == 2, demo
    for customer in demo["customers"]:
        if "--oracle" in sys.argv:
            judge(demo["base_url"], customer, sys.argv[3])
        else:
            try_customer(customer)


main()
