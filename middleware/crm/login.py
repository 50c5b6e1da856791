"""A token that a CRM gives for user and password: fetched once for all threads, and anew when it is refused."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from middleware.crm.settings import Secret
from middleware.errors import CRMAuthError, CRMResponseError, CRMTimeoutError
from middleware.model.deadline import Deadline

T = TypeVar("T")


class Login:
    """Keeps the token of one account in this process."""

    def __init__(self) -> None:
        self._token: Secret | None = None
        self._lock = Lock()

    def use(self, fetch: Callable[[], Secret], ask: Callable[[Secret], T], deadline: Deadline) -> T:
        """Return what ``ask`` returns with the token; where it is refused, once more with a new one.

        A request that was refused has done nothing, so that a write may be sent again.
        """
        token = self._current(fetch, None, deadline)
        try:
            return ask(token)
        except CRMAuthError as refused:
            try:
                token = self._current(fetch, token, deadline)
            except CRMResponseError:
                raise refused from None
        return ask(token)

    def _current(self, fetch: Callable[[], Secret], refused: Secret | None, deadline: Deadline) -> Secret:
        """Return the token; where it is ``refused`` or none is there, one thread fetches it and the others wait."""
        if not self._lock.acquire(timeout=max(deadline.remaining, 0)):
            raise CRMTimeoutError("no time was left to log in")
        try:
            if self._token is None or self._token is refused:
                self._token = None
                self._token = fetch()
            return self._token
        finally:
            self._lock.release()
