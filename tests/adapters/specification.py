"""A vendor's OpenAPI file, against which recorded exchanges are checked; it lies beside the repository."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests
from openapi_core import OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest, RequestsOpenAPIResponse

from tests.adapters.recorded import RecordedCrm

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(os.environ.get("VENDOR_SPECS", ROOT.parent / "shared" / "vendor-specs"))


def missing_specification(name: str) -> NoReturn:
    """Skip the test, since a vendor's file is not there; fail it where it must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"the vendor's specification {name} is missing")
    pytest.skip(f"the vendor's specification {name} is not there")


class Specification:
    """One file; ``server`` is where its paths begin."""

    def __init__(self, name: str, server: str, changes: dict[str, Any]) -> None:
        path = FOLDER / name
        if not path.exists():
            missing_specification(name)
        written = json.loads(path.read_text(encoding="utf-8"))
        _change(written, changes)
        written["servers"] = [{"url": server}]
        self.server = server
        self.paths: dict[str, Any] = written["paths"]
        self._api = OpenAPI.from_dict(written)

    def check(self, exchange: tuple[requests.PreparedRequest, requests.Response]) -> None:
        """Raise what is wrong with the request or its answer."""
        self.check_request(exchange[0])
        self._api.validate_response(RequestsOpenAPIRequest(exchange[0]), RequestsOpenAPIResponse(exchange[1]))

    def check_request(self, request: requests.PreparedRequest) -> None:
        """Raise what is wrong with the request."""
        self._api.validate_request(RequestsOpenAPIRequest(request))


def check_all(crm: RecordedCrm, specifications: list[Specification]) -> int:
    """Check everything that was sent and answered; return how many exchanges."""
    for request, response in crm.exchanged:
        url = request.url or ""
        owner = next(one for one in specifications if url.startswith(one.server + "/"))
        owner.check((request, response))
    return len(crm.exchanged)


def _change(written: Any, changes: dict[str, Any]) -> None:
    """Drop or replace what ``changes`` names, by keys separated by blanks."""
    for way, new in changes.items():
        *outer, last = way.split(" ")
        held = written
        for key in outer:
            held = held[int(key) if isinstance(held, list) else key]
        assert last in held, way
        if new is None:
            del held[last]
        else:
            held[last] = new
