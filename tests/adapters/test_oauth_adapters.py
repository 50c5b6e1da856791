"""HubSpot and Pipedrive by OAuth2: their token endpoints as they document them (2026-11), and who signs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from middleware.crm.account import Accounts
from middleware.crm.context import build_context
from middleware.crm.oauth import OAuthClient
from middleware.crm.settings import Secret
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.oauth.protocol import GrantEndedError, Protocol
from middleware.tenants.config import load_tenant
from middleware.tenants.files import create_tenant
from middleware.tenants.tenant import Source
from tests.adapters.recorded import RecordedCrm

HERE = Path(__file__).parent
MORE = {"hubspot": 'portal = "26551111"', "pipedrive": 'company = "nordlys"'}
TOKEN_URLS = {
    "hubspot": "https://api.hubapi.com/oauth/v3/token",
    "pipedrive": "https://oauth.pipedrive.com/oauth/token",
}
GIVEN = {"access_token": "at-2", "refresh_token": "rt-2", "expires_in": 1800, "token_type": "bearer"}
NUMBER = parse_number("+46701740605", "SE")


class OneToken:
    """Has always the same."""

    def get(self, _client: OAuthClient, _deadline: Deadline) -> Secret:
        return Secret("at-1")

    def renew(self, _client: OAuthClient, _refused: Secret, _deadline: Deadline) -> bool:
        return False


def soon() -> Deadline:
    return Deadline.after(timedelta(seconds=30))


@pytest.fixture(params=sorted(MORE))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    path, _ = create_tenant(tmp_path, "nova", name="Nova AB", region="SE")
    access = 'auth = "oauth2"\nclient_id = "us"\nclient_secret = "s3cret"'
    table = f'\n[[crm]]\nadapter = "{request.param}"\n{MORE[request.param]}\n{access}\n'
    path.write_text(path.read_text() + table)
    (source,) = load_tenant(path, Accounts(tokens=OneToken())).sources
    return source


def client_of(source: Source) -> OAuthClient:
    assert source.client
    return source.client


def test_every_request_has_the_token(source: Source) -> None:
    """The adapter's requests are signed with the access token, as a bearer (RFC 6750), and with nothing else."""
    with RecordedCrm(HERE / source.name / "exchanges.json") as crm:
        ctx = build_context(source.adapter, region="SE", deadline=soon(), account=source.account)
        assert list(source.adapter.find_contacts(NUMBER, ctx))
        assert all(finding.ok for finding in source.adapter.check(ctx))
    assert {sent.request.headers["Authorization"] for sent in crm.sent} == {"Bearer at-1"}
    assert not any("x-api-token" in sent.request.headers for sent in crm.sent)
    assert not any("access-token-info" in told for told in crm.told)  # HubSpot's, for private apps alone


@responses.activate
def test_a_renewal_is_as_the_vendor_wants_it(source: Source) -> None:
    """HubSpot takes id and secret in the body, Pipedrive in the header; neither is in the address."""
    responses.post(TOKEN_URLS[source.name], json=GIVEN)
    assert Protocol().refresh(client_of(source), "rt-1", soon()).refresh_token == "rt-2"
    request = responses.calls[0].request
    body = parse_qs(str(request.body))
    assert (body["grant_type"], body["refresh_token"]) == (["refresh_token"], ["rt-1"])
    assert ("client_secret" in body) == (source.name == "hubspot")
    assert request.headers.get("Authorization") == (None if source.name == "hubspot" else "Basic dXM6czNjcmV0")
    assert not urlsplit(str(request.url)).query


@responses.activate
def test_an_ended_grant_is_known_as_that(source: Source) -> None:
    """A refresh token that the vendor takes no more is a matter for a person, by the standard's name or HubSpot's."""
    told = {"error": "invalid_grant"} if source.name == "pipedrive" else {"status": "BAD_REFRESH_TOKEN"}
    responses.post(TOKEN_URLS[source.name], json=told, status=400)
    with pytest.raises(GrantEndedError):
        Protocol().refresh(client_of(source), "rt-1", soon())


def test_the_link_asks_for_what_is_used(source: Source) -> None:
    """HubSpot's link names the scopes of the shown activities; Pipedrive's app has its own."""
    link = Protocol().link(client_of(source), redirect_uri="https://us.example/back", state="s", verifier="v" * 43)
    asked = parse_qs(urlsplit(link).query)
    assert asked["client_id"] == ["us"]
    assert asked["code_challenge_method"] == ["S256"]
    scopes = asked.get("scope", [""])[0].split()
    assert ("crm.objects.deals.read" in scopes) == (source.name == "hubspot")
