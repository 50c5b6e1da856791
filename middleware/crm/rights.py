"""What ``check`` finds out by reading one record of a kind."""

from __future__ import annotations

from collections.abc import Mapping

from middleware.crm.base import Context, Finding
from middleware.errors import CRMAuthError, CRMRejectedError, CRMResponseError

ONE = {"limit": "1"}  # how most CRMs are asked for one record


def try_reading(right: str, path: str, ctx: Context, params: Mapping[str, str] = ONE) -> Finding:
    """Return whether one record can be read from ``path``; ``right`` names what that needs.

    The CRM's own words stay out of it: some repeat the token that they were sent.
    """
    try:
        ctx.http.get(path, params=dict(params)).json()  # a page to sign in answers 200, too
    except (CRMAuthError, CRMRejectedError, CRMResponseError) as error:
        return Finding(ok=False, message=f"{right}: {error}")
    return Finding(ok=True, message=right)
