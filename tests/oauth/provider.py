"""A CRM with OAuth2 on a real socket: PKCE, and refresh tokens that rotate; whoever uses one twice ends them all."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from middleware.crm.oauth import ClientAuth, OAuth2, OAuthClient
from middleware.crm.settings import Secret

CLIENT_ID, CLIENT_SECRET = "m8crm-at-acme", "s3cret-of-the-client"


@dataclass
class Code:
    challenge: str
    redirect_uri: str


@dataclass
class Provider:
    """What the server knows, and what a test tells it to do; ``lifetime`` is what it says of access tokens."""

    lifetime: Any = 3600
    rotates: bool = True
    failures: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # answered in place of tokens, in turn
    before: Any = None  # called before a renewal is looked at; false drops the connection
    codes: dict[str, Code] = field(default_factory=dict)
    access: set[str] = field(default_factory=set)
    refresh: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)
    revoked: list[str] = field(default_factory=list)
    renewals: int = 0  # asked for
    redeemed: int = 0
    requests: int = 0  # of the API
    client_auth: ClientAuth = "client_secret_basic"
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, tenant_id: str = "acme", source: str = "acme") -> OAuthClient:
        oauth = OAuth2(
            authorize_url=f"{self.url}/authorize",
            token_url=f"{self.url}/token",
            revoke_url=f"{self.url}/revoke",
            scopes=("contacts", "calls"),
            client_auth=self.client_auth,
        )
        secret = Secret(CLIENT_SECRET)
        return OAuthClient(tenant_id=tenant_id, source=source, oauth=oauth, client_id=CLIENT_ID, client_secret=secret)

    def expire(self) -> None:
        """Have every access token end before its time."""
        self.access.clear()

    def end(self) -> None:
        """Have the customer take our rights away."""
        self.access.clear()
        self.refresh.clear()

    def grant(self, *, with_refresh: bool = True) -> dict[str, Any]:
        access = secrets.token_hex(8)
        self.access.add(access)
        told = {"access_token": access, "token_type": "bearer", "expires_in": self.lifetime}
        if with_refresh:
            refresh = secrets.token_hex(8)
            self.refresh.add(refresh)
            told["refresh_token"] = refresh
        return told

    def redeem(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.redeemed += 1
        code = self.codes.pop(asked["code"], None)
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if code is None or code.challenge != challenge or code.redirect_uri != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, self.grant()

    def renew(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        given = asked["refresh_token"]
        if given in self.spent:  # stolen, for all that the server knows
            self.end()
        if given not in self.refresh:
            return 400, {"error": "invalid_grant"}
        if not self.rotates:
            return 200, self.grant(with_refresh=False)
        self.refresh.remove(given)
        self.spent.add(given)
        return 200, self.grant()

    def token(self, asked: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]] | None:
        basic = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        posted = (asked.get("client_id"), asked.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if not (authorization == basic if self.client_auth == "client_secret_basic" else posted):
            return 401, {"error": "invalid_client"}
        is_renewal = asked["grant_type"] == "refresh_token"
        with self.lock:
            self.renewals += is_renewal
        if is_renewal and self.before is not None and self.before() is False:
            return None
        with self.lock:
            if self.failures:
                return self.failures.pop(0)
            return self.renew(asked) if is_renewal else self.redeem(asked)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    provider: Provider


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        provider, asked = self.server.provider, _flat(urlsplit(self.path).query)
        if self.path.startswith("/authorize"):
            assert asked["response_type"] == "code"
            assert asked["client_id"] == CLIENT_ID
            assert asked["code_challenge_method"] == "S256"
            assert asked["scope"] == "contacts calls"
            code = secrets.token_hex(8)
            provider.codes[code] = Code(asked["code_challenge"], asked["redirect_uri"])
            self.answer(302, {}, f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")
        else:
            self.api()

    def do_POST(self) -> None:
        provider = self.server.provider
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/token":
            told = provider.token(_flat(body), self.headers.get("Authorization", ""))
            if told is None:
                self.close_connection = True
            else:
                self.answer(*told)
        elif self.path == "/revoke":
            provider.revoked.append(_flat(body)["token"])
            self.answer(200, {})
        else:
            self.api()

    def api(self) -> None:
        provider = self.server.provider
        with provider.lock:
            provider.requests += 1
        is_known = self.headers.get("Authorization", "").removeprefix("Bearer ") in provider.access
        self.answer(200 if is_known else 401, {"is_known": is_known})

    def answer(self, status: int, told: dict[str, Any], location: str = "") -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def run_provider() -> Iterator[Provider]:
    """Serve on a port of its own while the block runs."""
    provider, server = Provider(), _Server(("127.0.0.1", 0), _Handler)
    server.provider = provider
    provider.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield provider
    server.shutdown()
    server.server_close()


def _flat(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}
