"""Builds the ``Context`` that every call of an adapter receives."""

from __future__ import annotations

from functools import partial
from typing import Any

from middleware.crm.account import Account
from middleware.crm.base import Bookmark, Context, CRMAdapter
from middleware.crm.budget import Lane
from middleware.crm.session import CRMSession
from middleware.model.call import User
from middleware.model.deadline import Deadline


def build_context(
    adapter: CRMAdapter[Any],
    *,
    region: str,
    deadline: Deadline,
    account: Account | None = None,
    lane: Lane = Lane.LOOKUP,
    user: User | None = None,
    bookmark: Bookmark | None = None,
) -> Context:
    """Return the context of one call: its time, and a session bound to the CRM's host and the account's protection."""
    account = account or Account()
    guard = partial(account.guard, lane, deadline, adapter.name)
    auth = account.auth(deadline) if account.auth else adapter.auth()
    http = CRMSession(adapter.base_url, deadline, auth=auth, classify=adapter.classify, guard=guard)
    bookmark = bookmark or Bookmark()
    return Context(deadline=deadline, http=http, region=region, user=user, guard=guard, bookmark=bookmark)
