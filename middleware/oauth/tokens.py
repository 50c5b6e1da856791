"""``StoredTokens``: the tokens that sign requests, renewed ahead of their end, once, whoever asks.

A renewal runs on a thread of its own: a lookup that gives up after 2.6 s must not take the only copy of a rotated
refresh token with it.  Threads of a process share one (``_flights``), processes and machines take turns by the row.
New tokens are on the disk before anybody sees them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from middleware.crm.oauth import OAuthClient
from middleware.crm.settings import Secret
from middleware.crm.threads import DaemonPool
from middleware.errors import CRMError, NotConnectedError, NoTokenError, RateLimitedError, StorageError, VaultError
from middleware.model.deadline import Clock, Deadline
from middleware.oauth.grants import Grant, Grants, digest_of
from middleware.oauth.protocol import Granted, GrantEndedError, Protocol

AHEAD = 300.0  # seconds before its end that a token is renewed, and never more than a fifth of its life
LOOK_EVERY = 5.0  # seconds that a process believes what it has read
REQUEST = timedelta(seconds=10)  # for the token endpoint; a lease is three times as long
REFUSED_EVERY = 300.0  # seconds; a 401 may also mean something else, and must not renew at every request
SHORTEST, LONGEST = 5.0, 300.0  # seconds until a renewal that failed is tried again
POLL = 0.1  # seconds between looks at what another process is renewing
KEEP_TRYING = 0.5  # seconds between tries to store what cannot be had again

log = structlog.get_logger("m8crm.oauth")
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Known:
    grant: Grant
    read_at: float  # monotonic


class StoredTokens:
    """The tokens of this process' customers; see :class:`middleware.crm.oauth.Tokens`."""

    def __init__(
        self,
        grants: Grants,
        protocol: Protocol,
        *,
        clock: Clock = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._grants = grants
        self._protocol = protocol
        self._clock = clock
        self._wait = wait
        self._pool = DaemonPool("tokens")
        self._lock = threading.RLock()  # a renewal may have landed before anybody could be told
        self._reading = threading.Lock()  # what was read before must not replace what was read later
        self._known: dict[Key, _Known] = {}
        self._flights: dict[Key, Future[Grant]] = {}

    def get(self, client: OAuthClient, deadline: Deadline) -> Secret:
        """Return a valid access token, after waiting for a new one if need be."""
        grant = self._look(client)
        now = self._grants.now()
        if not grant.is_usable(now):
            grant = self._awaited(self._renewal(client, grant), deadline)
        elif grant.is_connected and grant.refresh_token and now >= max(_renew_at(grant), grant.due_at):
            with suppress(NoTokenError):
                self._renewal(client, grant)  # the token is good for a while: nobody waits
        return Secret(grant.access_token)

    def renew(self, client: OAuthClient, refused: Secret, deadline: Deadline) -> bool:
        """Whether there is another token than the one that the CRM has just refused with 401."""
        grant = self._look(client, anew=True)
        if grant.access_token != refused.reveal():
            return True
        now = self._grants.now()
        if not grant.is_leased and now < grant.refused_at + REFUSED_EVERY:  # one that is under way is waited for
            return False
        return self._awaited(self._renewal(client, grant, was_refused=True), deadline).stamp != grant.stamp

    def _look(self, client: OAuthClient, *, anew: bool = False) -> Grant:
        """Return what is known of the tokens, or the database's word where that is old."""
        key = (client.tenant_id, client.source)
        known = self._known.get(key)
        if known and not anew and self._clock() - known.read_at < LOOK_EVERY:
            return known.grant
        with self._reading:
            return self._read(client, key)

    def _read(self, client: OAuthClient, key: Key) -> Grant:
        known = self._known.get(key)
        try:
            grant = self._grants.find(*key)
        except (StorageError, VaultError) as error:
            if known and known.grant.is_usable(self._grants.now()):  # lookups go on without a database
                return known.grant
            raise _no_token(error) from None
        if grant is None or grant.client != digest_of(client):
            self._known.pop(key, None)
            why = "was never given" if grant is None else "is another client's"
            raise NotConnectedError(f"the authorisation {why}: m8crm tenant connect {client.tenant_id} {client.source}")
        self._known[key] = _Known(grant, self._clock())
        return grant

    def _renewal(self, client: OAuthClient, grant: Grant, *, was_refused: bool = False) -> Future[Grant]:
        """Begin to renew, or join the renewal that this process has under way."""
        if not grant.is_connected:
            raise _ended(client)
        key = (client.tenant_id, client.source)
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                try:
                    flight = self._pool.submit(self._renew, client, grant, was_refused)
                except RuntimeError as error:
                    raise _no_token(error) from None
                self._flights[key] = flight
                flight.add_done_callback(lambda _: self._landed(key))
        return flight

    def _landed(self, key: Key) -> None:
        with self._lock:
            self._flights.pop(key, None)

    def _awaited(self, flight: Future[Grant], deadline: Deadline) -> Grant:
        try:
            return flight.result(timeout=deadline.remaining)
        except FutureTimeoutError:
            words = "the token is being renewed: not asked"
            raise NoTokenError(words, retry_after=timedelta(seconds=SHORTEST)) from None
        except (StorageError, VaultError) as error:
            raise _no_token(error) from None

    def _renew(self, client: OAuthClient, before: Grant, was_refused: bool) -> Grant:
        """Return newer tokens than ``before``: ours, or those of the process that has the lease."""
        until = self._clock() + 4 * REQUEST.total_seconds()
        while True:
            grant = self._look(client, anew=True)
            if grant.stamp != before.stamp:
                return grant
            if not grant.is_connected:
                raise _ended(client)
            wait = grant.due_at - self._grants.now()
            if wait > LONGEST * 2:  # of a clock that was ahead
                wait = 0.0
            if wait > 0:
                raise NoTokenError("the token cannot be renewed now: not asked", retry_after=timedelta(seconds=wait))
            is_mine = self._grants.claim(client, grant, was_refused=was_refused)
            renewed = self._ask(client, grant) if is_mine else None
            if renewed:
                return renewed
            if self._clock() >= until:
                raise NoTokenError("another process renews the token", retry_after=timedelta(seconds=SHORTEST))
            self._wait(POLL)

    def _ask(self, client: OAuthClient, grant: Grant) -> Grant | None:
        """Renew under the lease that we have; ``None`` when meanwhile somebody else has, or is about to."""
        about = {"customer": client.tenant_id, "source": client.source}
        try:
            if grant.refresh_token is None:
                raise GrantEndedError("the CRM gave no refresh token")
            granted = self._protocol.refresh(client, grant.refresh_token, Deadline.after(REQUEST))
        except GrantEndedError as error:
            if not self._grants.failed(client, grant, reason="ended", wait=0.0, has_ended=True):
                return None  # our lease was over, and the answer is about a token that somebody else has used
            log.error("crm_has_ended_the_connection", **about, reason=str(error))
            raise _ended(client) from None
        except CRMError as error:
            wait = _back_off(grant.failures, error)
            self._grants.failed(client, grant, reason=type(error).__name__, wait=wait)
            log.error("token_not_renewed", **about, reason=str(error), failures=grant.failures + 1)
            words = "the token cannot be renewed now: not asked"
            raise NoTokenError(words, retry_after=timedelta(seconds=wait)) from None
        kept = self._keep(client, grant, granted)
        if kept:
            log.info("token_renewed", **about)
            with self._reading:
                self._known[(client.tenant_id, client.source)] = _Known(kept, self._clock())
        return kept

    def _keep(self, client: OAuthClient, grant: Grant, granted: Granted) -> Grant | None:
        """Store the tokens, however long that takes: the CRM may have ended the old ones, and this is the only copy."""
        is_told = False
        while True:
            try:
                return self._grants.renewed(client, grant, granted)
            except (StorageError, VaultError) as error:
                if not is_told:
                    log.error("token_not_stored", customer=client.tenant_id, source=client.source, reason=str(error))
                is_told = True
                self._wait(KEEP_TRYING)


def _renew_at(grant: Grant) -> float:
    if grant.expires_at is None:
        return float("inf")
    return grant.expires_at - min(AHEAD, (grant.expires_at - grant.renewed_at) / 5)


def _back_off(failures: int, error: CRMError) -> float:
    asked = error.retry_after.total_seconds() if isinstance(error, RateLimitedError) and error.retry_after else 0.0
    return min(max(SHORTEST * 2.0 ** min(failures, 10), asked), LONGEST)


def _ended(client: OAuthClient) -> NotConnectedError:
    return NotConnectedError(
        f"the CRM has ended the connection: m8crm tenant connect {client.tenant_id} {client.source}"
    )


def _no_token(error: Exception) -> NoTokenError:
    return NoTokenError(f"no token can be read: {error}", retry_after=timedelta(seconds=SHORTEST))
