"""A real OpenID Connect provider of the tests' own; everybody who is sent to it is Olga."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT_ID, SECRET = "m8crm-console", "secret of the client"


class Provider:
    """Answers on a port of its own; ``claims`` change what its next token says, ``key`` who signs it."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.key = RSAKey.generate_key(2048, parameters={"kid": "1"})
        self.published = self.key
        self.asked: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def authorize(self, url: str) -> str:
        """Return where somebody who has come by ``url`` is sent back to."""
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        return f"{self.asked['redirect_uri']}?{urlencode({'code': 'code-1', 'state': self.asked['state']})}"

    def _about(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def _token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
        if challenge != self.asked["code_challenge"] or form["code"] != "code-1" or authorization != f"Basic {basic}":
            return None
        now = int(time.time())
        said = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "7", "iat": now, "exp": now + 300}
        said |= {"nonce": self.asked["nonce"], "preferred_username": "olga", "roles": ["staff"], **self.claims}
        token = jwt.encode({"alg": "RS256", "kid": "1"}, said, self.key)
        return {"access_token": "a", "token_type": "Bearer", "id_token": token}

    def _handler(provider) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys = KeySet([provider.published]).as_dict(private=False)
                found = {"/.well-known/openid-configuration": provider._about(), "/keys": keys}.get(self.path)
                self._answer(found, 404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self._answer(provider._token(form, self.headers.get("Authorization", "")), 400)

            def _answer(self, told: Any, otherwise: int) -> None:
                body = json.dumps(told or {"error": "invalid_grant"}).encode()
                self.send_response(200 if told else otherwise)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
