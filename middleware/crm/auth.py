"""How an adapter signs its requests, without an HTTP library of its own: what ``CRMAdapter.auth`` returns."""

from __future__ import annotations

import base64

from requests import PreparedRequest
from requests.auth import AuthBase

from middleware.crm.settings import Secret

__all__ = ["AuthBase", "HeaderAuth", "QueryAuth", "basic", "bearer"]


class HeaderAuth(AuthBase):
    """Puts a secret into a header: ``HeaderAuth("X-Api-Key", self.settings.key)``."""

    def __init__(self, name: str, secret: Secret, prefix: str = "") -> None:
        self._name = name
        self._secret = secret
        self._prefix = prefix

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign ``request``."""
        request.headers[self._name] = self._prefix + self._secret.reveal()
        return request


class QueryAuth(AuthBase):
    """Puts a secret into the address, for CRMs that take it nowhere else; logs on the way may keep it."""

    def __init__(self, name: str, secret: Secret) -> None:
        self._name = name
        self._secret = secret

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign ``request``."""
        request.prepare_url(request.url, {self._name: self._secret.reveal()})
        return request


def bearer(token: Secret) -> AuthBase:
    """Return what sends ``Authorization: Bearer …`` (RFC 6750)."""
    return HeaderAuth("Authorization", token, "Bearer ")


def basic(user: str, password: Secret) -> AuthBase:
    """Return what sends ``Authorization: Basic …`` in UTF-8 (RFC 7617)."""
    both = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
    return HeaderAuth("Authorization", Secret(both), "Basic ")
