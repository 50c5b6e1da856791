"""Tries a running demo: M8Com's contract for every customer, and one call from the post to the next lookup.

Usage: probe.py FILE DIR, where FILE holds the demo's JSON line and DIR is its data folder.
"""
# ruff: noqa: T201 - it opens the demo's own URLs and prints what it finds

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
ORACLE = ROOT.parent / "shared" / "oracle" / "insights_oracle.py"
M8CRM = ROOT / ".venv" / "bin" / "m8crm"
PATIENCE = 20.0  # seconds for one delivery


def main(line: Path, data: Path) -> int:
    """Return 0 when nothing is wrong."""
    demo = json.loads(line.read_text(encoding="utf-8"))
    if not ORACLE.exists() and os.environ.get("CI") == "true":
        print(f"{ORACLE} is missing")
        return 1
    wrong = 0
    for customer in demo["customers"]:
        wrong += probe(demo["base_url"], customer) if ORACLE.exists() else skip(customer)
        wrong += follow_call(customer, data)
    return 1 if wrong else 0


def skip(customer: dict[str, Any]) -> int:
    """Say that the contract is not checked on this machine."""
    print(f"SKIPPED: the contract of {customer['id']}: there is no {ORACLE} on this machine")
    return 0


def probe(base_url: str, customer: dict[str, Any]) -> int:
    """Judge the server by an independent reading of the contract."""
    secret = customer["endpoints"]["lookup"]["headers"]["Authorization"].removeprefix("Bearer ")
    numbers = [customer["known_numbers"][0], customer["unknown_number"]]
    print(f"contract, {customer['id']}: ", end="", flush=True)
    command = [sys.executable, ORACLE, "probe", base_url, customer["id"], secret, *numbers]
    return subprocess.run(command, check=False).returncode


def follow_call(customer: dict[str, Any], data: Path) -> int:
    """Post a call log, wait until it is delivered, and look for it in the next lookup."""
    number, summary = customer["known_numbers"][0], f"Asked at {time.time_ns()} for a copy of the invoice."
    shown = summary in json.dumps(look_up(customer, number))  # the answer is cached now
    url, headers = customer["endpoints"]["calllog"]["url"], customer["endpoints"]["calllog"]["headers"]
    call = {
        "fromNumber": number,
        "toNumber": "+46101234567",
        "duration": 61_000,
        "startTime": round(time.time() * 1000) - 61_000,
        "callType": "Outbound",
        "body": f"Call from: {number}\nCall type: Outbound\n{summary}",
    }
    request = Request(url, json.dumps(call).encode(), headers | {"Content-Type": "application/json"})
    with urlopen(request, timeout=3) as answer:
        event = json.load(answer)
    state = wait_until_delivered(event["id"], data)
    found = summary in json.dumps(look_up(customer, number))
    seen = "shown" if found else "NOT shown"
    print(f"call log, {customer['id']}: {event['status']}, {state}, {seen} in the next lookup")
    return 0 if (event["status"], state, shown, found) == ("accepted", "delivered", False, True) else 1


def look_up(customer: dict[str, Any], number: str) -> Any:
    """Return the card of ``number``."""
    endpoint = customer["endpoints"]["lookup"]
    with urlopen(
        Request(f"{endpoint['url']}?fromNumber={quote(number)}", headers=endpoint["headers"]), timeout=3
    ) as answer:
        return json.load(answer)


def wait_until_delivered(event_id: str, data: Path) -> str:
    """Return the event's state when it is delivered, or the last one seen."""
    end, state = time.monotonic() + PATIENCE, "unknown"
    while state != "delivered" and time.monotonic() < end:
        shown = subprocess.check_output([M8CRM, "--data", data, "events", "show", event_id, "--json"])
        state = str(json.loads(shown)["state"])
    return state


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
