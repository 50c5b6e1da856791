"""Who calls: the customer's id in the path and his secret in the header."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from flask import Response, current_app, g, request
from werkzeug.routing import BaseConverter

from middleware.tenants.registry import Tenants
from middleware.tenants.secrets import verify
from middleware.tenants.tenant import Tenant
from middleware.web.answers import presented_secret
from middleware.web.problems import problem


class TenantIdConverter(BaseConverter):
    """A customer id in a path; any other spelling is no address at all."""

    regex = "[a-z0-9][a-z0-9-]{0,62}"


def authenticated(receiver: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a view be called only with the customer's secret for ``receiver``; the view gets the ``Tenant``."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*args: Any, customer: str, **kwargs: Any) -> Any:
            tenant = _authenticate(customer, receiver)
            return tenant if isinstance(tenant, Response) else view(*args, tenant=tenant, **kwargs)

        guarded.is_authenticated = True  # type: ignore[attr-defined]  # a test asks every route for it
        return guarded

    return decorate


def _authenticate(customer: str, receiver: str) -> Tenant | Response:
    """Return the tenant, or 401 without and 403 with a wrong secret; an unknown customer is a wrong secret."""
    header = request.headers.get("Authorization", "")
    if not header.strip():
        refused = problem(401, "No authorization header provided")
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused
    tenants: Tenants = current_app.extensions["m8crm"].tenants
    tenant = tenants.get(customer)
    is_right = verify(tenant, receiver, presented_secret(header))
    if tenant is None and tenants.problem(customer) is not None:
        return problem(503, "This customer's configuration is broken.", retry_after=timedelta(seconds=30))
    if tenant is None or not is_right:
        return problem(403, "Invalid secret")
    g.customer = tenant.id
    return tenant
