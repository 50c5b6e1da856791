"""Asks a CRM's token endpoint: authlib speaks OAuth 2.0, the session of the adapters sends.

So a token endpoint has the same limits as a CRM: a deadline for the whole, no redirects, TLS verified, capped answers,
and errors without a URL, a token or a body.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from requests.auth import AuthBase

from middleware.crm.oauth import OAuthClient
from middleware.crm.session import CRMSession, Sender
from middleware.errors import CRMAuthError, CRMError, CRMRejectedError, CRMResponseError
from middleware.model.deadline import Deadline

MAX_LIFETIME = 10 * 365 * 86_400  # seconds; a longer one is no lifetime
_CODE = re.compile(r"[A-Za-z_]{1,40}")


class GrantEndedError(CRMAuthError):
    """The CRM takes the refresh token no more; only a person can give a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a token endpoint gave; ``lifetime`` in seconds, ``None`` where it does not say."""

    access_token: str
    refresh_token: str | None
    lifetime: float | None

    def document(self) -> dict[str, Any]:
        """Return what is kept."""
        return {"access_token": self.access_token, "refresh_token": self.refresh_token}


class Protocol:
    """The requests to token endpoints; ``sender`` is for tests."""

    def __init__(self, sender: Sender | None = None) -> None:
        self._sender = sender

    def link(self, client: OAuthClient, *, redirect_uri: str, state: str, verifier: str) -> str:
        """Return the address at which a person authorises us (RFC 6749, 4.1.1; RFC 7636, 4.3)."""
        speaker = self._speaker(client, Deadline.after(timedelta()), redirect_uri=redirect_uri)
        oauth = client.oauth
        url, _ = speaker.create_authorization_url(
            oauth.authorize_url, state=state, code_verifier=verifier, **oauth.authorize_params
        )
        return str(url)

    def redeem(
        self, client: OAuthClient, code: str, *, redirect_uri: str, verifier: str, deadline: Deadline
    ) -> Granted:
        """Return the tokens for an authorisation code (RFC 6749, 4.1.3); raises ``CRMError``."""
        speaker = self._speaker(client, deadline, redirect_uri=redirect_uri)
        return _granted(
            lambda: speaker.fetch_token(
                client.oauth.token_url, grant_type="authorization_code", code=code, code_verifier=verifier
            )
        )

    def refresh(self, client: OAuthClient, refresh_token: str, deadline: Deadline) -> Granted:
        """Return new tokens, or the old refresh token where it stays good (RFC 6749, 6).

        Raises ``GrantEndedError`` when a person must act, else ``CRMError``.
        """
        speaker = self._speaker(client, deadline)
        return _granted(lambda: speaker.refresh_token(client.oauth.token_url, refresh_token=refresh_token))

    def revoke(self, client: OAuthClient, token: str, deadline: Deadline) -> None:
        """Have the CRM forget the token (RFC 7009), where it can; raises ``CRMError``."""
        if client.oauth.revoke_url:
            self._speaker(client, deadline).revoke_token(client.oauth.revoke_url, token, "refresh_token")

    def _speaker(self, client: OAuthClient, deadline: Deadline, redirect_uri: str | None = None) -> Any:
        return _Speaker(
            _Door(client, deadline, self._sender),
            client_id=client.client_id,
            client_secret=client.client_secret.reveal(),
            token_endpoint_auth_method=client.oauth.client_auth,
            revocation_endpoint_auth_method=client.oauth.client_auth,
            # a renewal without scopes is one with those that were given (RFC 6749, 6)
            scope=" ".join(client.oauth.scopes) if redirect_uri else None,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )


class _Signs(AuthBase, ClientAuth):  # type: ignore[misc]  # authlib has no types
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        method, url, headers, body = request.method, request.url, request.headers, request.body
        request.url, request.headers, request.body = self.prepare(method, url, headers, body)
        return request


class _Speaker(OAuth2Client):  # type: ignore[misc]
    client_auth_class = _Signs

    def parse_response_token(self, response: requests.Response) -> dict[str, Any]:
        """Return the tokens; what else an answer says, or says wrongly, costs nobody a token that was rotated."""
        told = response.json()
        if not isinstance(told, dict) or not _is_text(told.get("access_token")):
            raise CRMResponseError("the token endpoint's answer has no token")
        self.token = {name: told[name] for name in ("access_token", "refresh_token") if _is_text(told.get(name))}
        with suppress(TypeError, ValueError, OverflowError):
            lifetime = float(told.get("expires_in"))  # type: ignore[arg-type]
            if 0 < lifetime < MAX_LIFETIME:
                self.token["expires_in"] = lifetime
        token: dict[str, Any] = self.token
        return token


class _Door:
    """What authlib takes for a session of ``requests``: one guarded request at a time."""

    def __init__(self, client: OAuthClient, deadline: Deadline, sender: Sender | None) -> None:
        self._client = client
        self._deadline = deadline
        self._sender = sender

    def post(self, url: str, **kwargs: Any) -> requests.Response:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        session = CRMSession(origin, self._deadline, classify=self._classify, sender=self._sender)
        return session.post(url, **kwargs)

    def _classify(self, response: requests.Response) -> CRMError | None:
        told = _error_in(response)
        if told in self._client.oauth.ended:
            return GrantEndedError(f"the token endpoint answered {told}")
        if (told and response.status_code < 429) or response.status_code in (400, 401, 403):
            return CRMRejectedError(f"the token endpoint answered {response.status_code} {told or ''}".strip())
        return None


def _error_in(response: requests.Response) -> str | None:
    """Return the error by its name (RFC 6749, 5.2); some say ``status`` instead, some answer 200."""
    try:
        told = response.json()
    except (CRMResponseError, ValueError):
        return None
    names = [told.get("error"), told.get("status")] if isinstance(told, dict) and "access_token" not in told else []
    return next((name for name in names if isinstance(name, str) and _CODE.fullmatch(name)), None)


def _granted(ask: Callable[[], dict[str, Any]]) -> Granted:
    token = ask()
    return Granted(
        access_token=token["access_token"],
        refresh_token=token.get("refresh_token"),
        lifetime=token.get("expires_in"),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
