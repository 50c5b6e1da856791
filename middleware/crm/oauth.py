"""OAuth 2.0 as an adapter declares it, and how its requests are signed with tokens that are renewed elsewhere.

An adapter whose CRM speaks OAuth2 overrides ``CRMAdapter.oauth2`` and does nothing else about it: the authorisation,
keeping the tokens and renewing them is ``middleware/oauth``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from requests import PreparedRequest
from requests.auth import AuthBase

from middleware.crm.settings import Secret
from middleware.model.deadline import Deadline

ClientAuth = Literal["client_secret_basic", "client_secret_post", "none"]  # RFC 6749, 2.3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """A CRM's authorisation-code grant (RFC 6749, 4.1), always with PKCE (RFC 7636).

    ``replaces`` names the setting that a customer leaves out when he writes ``auth = "oauth2"``; empty where
    there is no other way in.  ``authorize_params`` go into the link as they are (``{"access_type": "offline"}``).
    ``ended`` are the errors of the token endpoint that only a person can mend, ``invalid_grant`` by its standard name.
    ``scheme`` is what stands before the token in ``Authorization``.  ``revoke_url``: RFC 7009.
    """

    authorize_url: str
    token_url: str
    scopes: tuple[str, ...] = ()
    client_auth: ClientAuth = "client_secret_basic"
    replaces: str = ""
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    ended: tuple[str, ...] = ("invalid_grant",)
    scheme: str = "Bearer"
    revoke_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """We, as the CRM knows us, for one ``[[crm]]`` of one customer."""

    tenant_id: str
    source: str
    oauth: OAuth2
    client_id: str
    client_secret: Secret


class Tokens(Protocol):
    """Where tokens come from (``middleware/oauth/tokens.py``)."""

    def get(self, client: OAuthClient, deadline: Deadline) -> Secret:
        """Return a valid access token; raises ``NotConnectedError`` or ``NoTokenError``."""

    def renew(self, client: OAuthClient, refused: Secret, deadline: Deadline) -> bool:
        """Whether there is another token than the one that the CRM has just ``refused``; raises as :meth:`get`."""


class TokenAuth(AuthBase):
    """Signs with the token that is valid when a request is made."""

    def __init__(self, tokens: Tokens, client: OAuthClient, deadline: Deadline) -> None:
        self._tokens = tokens
        self._client = client
        self._deadline = deadline

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign ``request``, if need be after waiting for a new token until the deadline."""
        token = self._tokens.get(self._client, self._deadline)
        request.headers["Authorization"] = f"{self._client.oauth.scheme} {token.reveal()}"
        return request

    def renew(self, request: PreparedRequest) -> bool:
        """Whether the request, which the CRM has answered with 401, may be signed anew and sent once more."""
        refused = str(request.headers["Authorization"]).partition(" ")[2]
        return self._tokens.renew(self._client, Secret(refused), self._deadline)
