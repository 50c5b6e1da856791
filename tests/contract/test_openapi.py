"""The OpenAPI description tells the truth: schemathesis calls every operation as it says."""

from __future__ import annotations

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from middleware.receivers.registry import RECEIVERS
from tests.conftest import House


def test_description_is_openapi_3_1(house: House) -> None:
    """The description names every route of a sender and its secret."""
    document = house.client.get("/-/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {f"/{{customer}}/{route}" for route in ("lookup", *RECEIVERS)}
    assert set(document["paths"]["/{customer}/cdr"]) >= {"get", "post", "put"}
    assert set(document["components"]["securitySchemes"]) == {"bearer", "pbxToken", "urlToken"}
    for sender, receiver in RECEIVERS.items():
        ((scheme,),) = document["paths"][f"/{{customer}}/{sender}"]["post"]["security"]
        where = document["components"]["securitySchemes"][scheme]
        assert where.get("name", "Authorization: Bearer") in receiver.credential.value


def test_docs_page_asks_nobody_outside(house: House) -> None:
    """The page and its parts come from our own host, without inline script."""
    page = house.client.get("/-/docs")
    assert "http" not in page.get_data(as_text=True)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    for path in ("/-/docs/start.js", "/-/docs/assets/swagger-ui-bundle.js", "/-/docs/assets/swagger-ui.css"):
        with house.client.get(path) as part:
            assert part.status_code == 200
    assert house.client.get("/-/docs/assets/index.html").status_code == 404


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("method", "route"),
    [("GET", "lookup"), *((method, sender) for sender in RECEIVERS for method in RECEIVERS[sender].methods)],
)
def test_every_operation_answers_as_described(house: House, method: str, route: str) -> None:
    """Whatever fits or breaks the description is answered as described, and never with a server's fault."""
    document = json.loads(house.client.get("/-/openapi.json").data)
    schema = schemathesis.openapi.from_dict(document)
    schema.app = house.app
    operation = schema[f"/{{customer}}/{route}"][method]
    phases = (Phase.explicit, Phase.generate)
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]

    secrets = house.customers["nordlys"].secrets
    headers = {**house.bearer(), "X-Pbx-Token": secrets["pbx"]}
    if route == "recording":
        headers["Authorization"] = f"Bearer {secrets['recording']}"

    @settings(
        max_examples=80 if route in ("lookup", "calllog") else 25,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def call(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        case.path_parameters = {"customer": "nordlys"}
        if route in ("cdr", "postcall"):
            case.query = {**(case.query or {}), "token": secrets[route]}
        case.call_and_validate(headers=headers, checks=checks)

    call()
