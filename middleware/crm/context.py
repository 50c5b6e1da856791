"""Builds the ``Context`` that every call of an adapter receives."""

from __future__ import annotations

from typing import Any

from middleware.crm.base import Context, CRMAdapter
from middleware.crm.session import CRMSession
from middleware.model.call import User
from middleware.model.deadline import Deadline


def build_context(adapter: CRMAdapter[Any], *, region: str, deadline: Deadline, user: User | None = None) -> Context:
    """Return the context of one call: its time, and a session bound to the CRM's host."""
    http = CRMSession(adapter.base_url, deadline, auth=adapter.auth(), classify=adapter.classify)
    return Context(deadline=deadline, http=http, region=region, user=user)
