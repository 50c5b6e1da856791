"""Who calls: the customer's id in the path, and his secret where the sender can put it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from flask import Response, current_app, g, request
from werkzeug.routing import BaseConverter

from middleware.receivers.registry import Credential
from middleware.tenants.registry import Tenants
from middleware.tenants.secrets import verify
from middleware.tenants.tenant import Tenant
from middleware.web.answers import presented_secret
from middleware.web.guesses import WINDOW, Guesses
from middleware.web.problems import problem

TOKEN = "token"  # noqa: S105 - the parameter of a URL that holds one
_MISSING = {
    Credential.BEARER: "No authorization header provided",
    Credential.PBX_TOKEN: "No X-Pbx-Token header provided",
    Credential.URL: "No token in the URL",
    Credential.URL_OR_DATA: "No token in the URL or in customData",
}


class TenantIdConverter(BaseConverter):
    """A customer id in a path; any other spelling is no address at all."""

    regex = "[a-z0-9][a-z0-9-]{0,62}"


def authenticated(
    receiver: str, credential: Credential = Credential.BEARER, find_token: Callable[[], str | None] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a view be called only with the customer's secret for ``receiver``; the view gets the ``Tenant``.

    ``find_token`` looks for it in the request's data when it is nowhere else.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*args: Any, customer: str, **kwargs: Any) -> Any:
            presented = _presented(credential)
            if presented is None and find_token:
                token = find_token()
                presented = token.encode(errors="replace") if token is not None else None
            tenant = _authenticate(customer, receiver, presented, credential)
            return tenant if isinstance(tenant, Response) else view(*args, tenant=tenant, **kwargs)

        guarded.is_authenticated = True  # type: ignore[attr-defined]  # a test asks every route for it
        return guarded

    return decorate


def _presented(credential: Credential) -> bytes | None:
    """Return what stands where the sender puts the secret; ``None`` when nothing does."""
    match credential:
        case Credential.BEARER:
            header = request.headers.get("Authorization", "")
            return presented_secret(header) if header.strip() else None
        case Credential.PBX_TOKEN:
            header = request.headers.get("X-Pbx-Token", "").strip()
            return header.encode("latin-1", errors="replace") if header else None
        case Credential.URL | Credential.URL_OR_DATA:
            token = request.args.get(TOKEN)
            return token.encode(errors="replace") if token else None


def _authenticate(customer: str, receiver: str, presented: bytes | None, credential: Credential) -> Tenant | Response:
    """Return the tenant, or 401 without a secret and 403 with a wrong one; an unknown customer is a wrong secret.

    429 for whoever has sent too many wrong ones.
    """
    if presented is None:
        refused = problem(401, _MISSING[credential])
        if credential is Credential.BEARER:
            refused.headers["WWW-Authenticate"] = "Bearer"
        return refused
    guesses: Guesses = current_app.extensions["m8crm"].guesses
    sender = _sender()
    if guesses.refuses(*sender, customer):
        return problem(429, "Too many wrong secrets came from this address.", retry_after=WINDOW)
    tenants: Tenants = current_app.extensions["m8crm"].tenants
    tenant = tenants.get(customer)
    is_right = verify(tenant, receiver, presented)
    if tenant is None and tenants.problem(customer) is not None:
        return problem(503, "This customer's configuration is broken.", retry_after=timedelta(seconds=30))
    if tenant is None or not is_right:
        guesses.note(guesses.address(*sender), customer)
        return problem(403, "Invalid secret")
    g.customer = tenant.id
    return tenant


def requester() -> str:
    """Return the network address that the request comes from; nothing where only proxies are known."""
    guesses: Guesses = current_app.extensions["m8crm"].guesses
    return guesses.address(*_sender())


def _sender() -> tuple[str, str]:
    """Return who is connected, and on whose behalf, as he says."""
    return request.remote_addr or "", request.headers.get("X-Forwarded-For", "")
