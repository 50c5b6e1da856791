"""Nobody is let in without the customer's own secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import House, call_log

ROUTES = [("GET", "/nordlys/lookup?fromNumber=%2B46701740605"), ("POST", "/nordlys/calllog")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 403),
        ("Bearer ", 403),
        ("Bearer nope", 403),
        ("Basic SECRET", 403),
        ("SECRET", 403),
        ("Bearer SECRET,Bearer SECRET", 403),
        ("Bearer SECRET SECRET", 403),
        ("Bearer " + "x" * 8192, 403),
        ("Bearer Åäö€", 403),
        ("Bearer OTHER", 403),
    ],
)
def test_wrong_secrets_are_refused(house: House, method: str, path: str, header: str | None, status: int) -> None:
    """No secret is 401, any wrong one 403, both with a message; nothing is stored."""
    secrets = {name: customer.secrets["insights"] for name, customer in house.customers.items()}
    header = header and header.replace("SECRET", secrets["nordlys"]).replace("OTHER", secrets["harbour"])
    environ = {} if header is None else {"HTTP_AUTHORIZATION": header.encode().decode("latin-1")}
    answer = house.client.open(path, method=method, json=call_log() if method == "POST" else None, environ_base=environ)
    assert answer.status_code == status
    assert isinstance(answer.get_json()["message"], str)
    assert house.parts.inbox.list_events() == []


def test_scheme_is_read_in_any_case(house: House) -> None:
    """``bearer`` is ``Bearer`` (RFC 9110, 11.1)."""
    secret = house.customers["nordlys"].secrets["insights"]
    answer = house.client.get(ROUTES[0][1], headers={"Authorization": f"bearer {secret}"})
    assert answer.status_code == 200


def test_unknown_customer_answers_like_a_wrong_secret(house: House) -> None:
    """Who does not know the secret cannot tell whether a customer exists."""
    answers = [
        house.client.get(f"/{customer}/lookup?fromNumber=1", headers={"Authorization": "Bearer nope"})
        for customer in ("nordlys", "no-such-customer")
    ]
    assert answers[0].data == answers[1].data
    assert [answer.status_code for answer in answers] == [403, 403]
    assert set(answers[0].headers.keys()) == set(answers[1].headers.keys())


@pytest.mark.parametrize(
    "tenant_id", ["ACME", "..", "%2e%2e", "acme%00", "acme%20", "-acme", "a" * 64, "\u212aelvin", "a;b"]
)
def test_odd_customer_ids_are_no_address(house: House, tenant_id: str) -> None:
    """An id that cannot be one is refused without a look at any file."""
    answer = house.client.get(f"/{tenant_id}/lookup", headers=house.bearer())
    assert answer.status_code in (403, 404)
    assert isinstance(answer.get_json()["message"], str)


def test_every_route_is_authenticated_or_public_on_purpose(house: House) -> None:
    """A new route cannot forget the secret."""
    public = {"health.live", "health.ready", "docs.page", "docs.start", "docs.asset", "docs.description"}
    public |= {"recordings.play"}  # its link is signed
    public |= {"health.metrics"}  # the token is no customer's
    public |= {"oauth.callback"}  # the state is signed, and good for one use
    open_ = {name for name, view in house.app.view_functions.items() if not getattr(view, "is_authenticated", False)}
    assert open_ == public


def test_both_secrets_are_valid_while_one_is_replaced(house: House) -> None:
    """Old and new secret work together until the old one is revoked."""
    from middleware.tenants.files import add_secret, list_secrets, revoke_secret
    from middleware.tenants.registry import Tenants
    from middleware.tenants.secrets import verify

    folder = house.folder / "customers"
    old, new = house.customers["harbour"].secrets["insights"], add_secret(folder, "harbour", "insights")

    def valid() -> list[bool]:
        return [verify(Tenants(folder).get("harbour"), "insights", secret.encode()) for secret in (old, new)]

    assert valid() == [True, True]
    revoke_secret(folder, "harbour", "insights", list_secrets(folder, "harbour")["insights"][0])
    assert valid() == [False, True]


def test_broken_customer_without_good_version_is_unavailable(house: House, tmp_path: Path) -> None:
    """A customer whose file never was right answers 503, and the others run."""
    (house.folder / "customers" / "broken.toml").write_text("name = ")
    assert house.client.get("/broken/lookup?fromNumber=1", headers=house.bearer()).status_code == 503
    assert house.lookup().status_code == 200
