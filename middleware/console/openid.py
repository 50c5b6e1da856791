"""``OpenID``: signing in with an organisation's own accounts (OpenID Connect Core 1.0, authorisation code, PKCE).

authlib asks, joserfc reads the tokens; what is ours is what they leave to the application: that the answer belongs to
the question of this browser (state, nonce), and what role a claim gives.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from cachetools import TTLCache
from itsdangerous import BadData, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from middleware.console.roles import Role, Viewer
from middleware.errors import ConfigError

GOOD_FOR = 600  # seconds from asking the provider until his answer
KEPT_FOR = 3600.0  # seconds, of what a provider says of himself
PATIENCE = 5.0  # seconds for each request to the provider
CROWD = 3  # who ask him at the same time in a process: whoever waits takes a thread from events
LEEWAY = 60  # seconds that two clocks may differ by
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

log = structlog.get_logger("m8crm.console")


class OpenIDError(Exception):
    """Somebody does not come in; the message is for him."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Who vouches for people: ``roles`` has, by value of ``claim``, the role and a customer's own admin's customer."""

    issuer: str
    client_id: str
    client_secret: str
    claim: str
    roles: Mapping[str, tuple[Role, str | None]]


def parse_roles(text: str) -> dict[str, tuple[Role, str | None]]:
    """Return what ``admins=hoster,it-nordlys=customer:nordlys`` says; raises ``ConfigError``."""
    roles: dict[str, tuple[Role, str | None]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        value, _, given = entry.rpartition("=")
        name, _, customer = given.partition(":")
        if not value or name not in tuple(Role) or (name == Role.CUSTOMER) != bool(customer):
            raise ConfigError("M8CRM_OIDC_ROLES", [f'"{entry}" is not VALUE=hoster, VALUE=care or VALUE=customer:ID'])
        roles[value] = Role(name), customer or None
    if not roles:
        raise ConfigError("M8CRM_OIDC_ROLES", ["nobody would have a role: write VALUE=hoster"])
    return roles


class OpenID:
    """Asks one provider; ``redirect_uri`` is where he sends people back to."""

    def __init__(
        self, provider: Provider, *, redirect_uri: str, key: bytes, now: Callable[[], float] = time.time
    ) -> None:
        parts = urlsplit(provider.issuer)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
            raise ConfigError("M8CRM_OIDC_ISSUER", ["is no https address"])
        self._provider = provider
        self._redirect_uri = redirect_uri
        self._now = now
        self._crowd = BoundedSemaphore(CROWD)
        self._known: TTLCache[str, dict[str, Any]] = TTLCache(8, KEPT_FOR, timer=now)
        self._serializer = URLSafeTimedSerializer(
            key, salt="m8crm.openid", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )

    def begin(self, place: str) -> tuple[str, str]:
        """Return where the browser is sent, and what it keeps until it is back; ``place`` is where it wanted to go."""
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        with self._asking():
            url, state = self._session().create_authorization_url(
                self._about()["authorization_endpoint"], code_verifier=verifier, nonce=nonce
            )
        return str(url), str(self._serializer.dumps([state, nonce, verifier, place]))

    def finish(self, kept: str, state: str, code: str) -> tuple[Viewer, str]:
        """Return who it is and where he wanted to go; raises ``OpenIDError``, also without a ``code``."""
        try:
            wanted, nonce, verifier, place = self._serializer.loads(kept, max_age=GOOD_FOR)
        except (BadData, ValueError):
            raise OpenIDError("That took too long, or began in another browser. Try again.") from None
        if not secrets.compare_digest(wanted.encode(), state.encode(errors="replace")):
            raise OpenIDError("That answer belongs to another question. Try again.")
        if not code:  # he or the provider said no (RFC 6749, 4.1.2.1)
            raise OpenIDError("The provider did not let you in. Try again, or ask whoever runs it.")
        with self._asking():
            claims = self._claims(self._redeem(code, verifier), nonce)
        return self._viewer(claims), place

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Let few ask the provider at a time, who may hang, and tell a failure in words."""
        if not self._crowd.acquire(blocking=False):
            raise OpenIDError("Too many people sign in at this moment. Try again.")
        try:
            yield
        except _FAILURES as error:
            log.warning("openid_failed", error=type(error).__name__)  # its message may hold a token
            words = "The provider's answer cannot be used. Try again; the log names the error."
            raise OpenIDError(words) from None
        finally:
            self._crowd.release()

    def _redeem(self, code: str, verifier: str) -> str:
        token = self._session().fetch_token(
            self._about()["token_endpoint"],
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
            timeout=PATIENCE,
            allow_redirects=False,
        )
        return str(token["id_token"])

    def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        """Return what the provider says of somebody, if it is he who says it, to us, now, and to this question."""
        address = self._about()["jwks_uri"]
        try:
            token = jwt.decode(id_token, KeySet.import_key_set(self._fetch(address)), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):  # he may have new keys
            self._known.pop(address, None)
            token = jwt.decode(id_token, KeySet.import_key_set(self._fetch(address)), algorithms=_ALGORITHMS)
        claims = dict(token.claims)
        jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=LEEWAY,
            iss={"essential": True, "value": self._provider.issuer},
            aud={"essential": True, "value": self._provider.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(claims)
        is_for_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if is_for_several else self._provider.client_id) != self._provider.client_id:
            raise ValueError("another client's token")
        return claims

    def _viewer(self, claims: dict[str, Any]) -> Viewer:
        found = claims.get(self._provider.claim)
        values = found if isinstance(found, list) else [found]
        for value, (role, customer) in self._provider.roles.items():
            if value in values:
                told = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
                name = "".join(filter(str.isprintable, told))  # a terminal and a log show it
                # a colon is in no name of an account here: nobody can be taken for one
                return Viewer(name=f"oidc:{name}"[:64], role=role, customer=customer)
        raise OpenIDError("You have signed in, but have no role here. Ask whoever runs this.")

    def _about(self) -> dict[str, Any]:
        """Return what the provider says of himself (OpenID Connect Discovery 1.0, 4)."""
        about = self._fetch(f"{self._provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        if about["issuer"] != self._provider.issuer:
            raise ValueError("another issuer")
        return dict(about)

    def _fetch(self, address: str) -> Any:
        if address not in self._known:
            answer = requests.get(address, timeout=PATIENCE, allow_redirects=False)
            answer.raise_for_status()
            self._known[address] = answer.json()
        return self._known[address]

    def _session(self) -> OAuth2Session:
        return OAuth2Session(
            self._provider.client_id,
            self._provider.client_secret,
            scope="openid profile email",
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
        )


_FAILURES = (requests.RequestException, AuthlibBaseError, JoseError, ValueError, KeyError, TypeError)
