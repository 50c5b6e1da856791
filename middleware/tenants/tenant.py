"""``Tenant``: one customer, frozen, as the last good version of his file has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from middleware.crm.account import Account
from middleware.crm.base import CRMAdapter
from middleware.crm.oauth import OAuthClient
from middleware.model.call import Direction

MissAnswer = Literal["404", "204", "empty"]
SeveralPolicy = Literal["latest", "first", "all"]
UnknownPolicy = Literal["park", "ignore", "create"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupConfig:
    """The ``[lookup]`` table; ``budget`` is at most 2.8 s, of M8Com's 3 s."""

    budget: timedelta = timedelta(seconds=2.6)
    miss: MissAnswer = "404"
    several: SeveralPolicy = "latest"
    deprecated_names: bool = False
    numeric_id_parameter: str = "numericId"
    cache_hit: timedelta = timedelta(minutes=5)
    cache_miss: timedelta = timedelta(minutes=1)
    cache_revalidate: timedelta = timedelta(minutes=10)  # shown at once while the CRM is asked again
    cache_stale: timedelta = timedelta(hours=24)  # shown when the CRM fails
    slots: int = 32  # lookups of this customer at one CRM at the same time, per process
    merge: bool = False  # one card from all sources
    own_calls: bool = True  # calls just logged complete the card


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipConfig:
    """The ``[calls.skip]`` table: calls that the customer does not want in his CRM.

    ``numbers`` are E.164 where they can be dialled; ``groups`` are names of answer groups, in small letters.
    """

    internal: bool = True
    shorter_than: timedelta = timedelta()
    numbers: frozenset[str] = frozenset()
    directions: frozenset[Direction] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsConfig:
    """The ``[calls]`` table: where finished calls are written (names of ``[[crm]]``), for whom, and with what text.

    ``subject`` and ``body`` are templates, empty for the middleware's own.  ``owners`` are the CRM's ids of its users
    by the small letters of an M8Com user's id, e-mail or name, and ``default``.
    """

    log_to: tuple[str, ...] = ()
    unknown: UnknownPolicy = "park"
    several: SeveralPolicy = "latest"
    subject: str = ""
    body: str = ""
    owners: Mapping[str, str] = field(default_factory=dict)
    tasks: bool = False  # action items become tasks in the CRM
    skip: SkipConfig = field(default_factory=SkipConfig)
    join_within: timedelta = timedelta(seconds=5)  # starts of one call, as several senders have them
    expect: tuple[str, ...] = ()  # senders that are waited for where a CRM's record cannot be completed later
    wait: timedelta = timedelta(minutes=2)  # for how long


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingsConfig:
    """The ``[recordings]`` table: whether recordings are fetched, from which hosts, and for how long they are kept.

    ``hosts`` holds DNS names: ``files.example.com``, ``files.example.com:8443`` or ``*.example.com``.
    ``pass_through`` gives people the sender's own link instead, for as long as it lives.  ``attach`` puts kept
    recordings into the CRM as well, where its adapter can.
    """

    fetch: bool = False
    hosts: tuple[str, ...] = ()
    keep: timedelta = timedelta(days=90)
    pass_through: bool = False
    attach: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    """The ``index`` of a ``[[crm]]``: its contacts' numbers are kept here, too, and followed.

    Changes are asked for ``every`` so often, all contacts ``full_every``; "nobody has the number" is believed of an
    index that is at most ``trusted_for`` old.
    """

    every: timedelta = timedelta(minutes=5)
    full_every: timedelta = timedelta(hours=24)
    trusted_for: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """One ``[[crm]]`` of a customer: ``name`` is unique within the customer (default: the adapter's name).

    ``account`` is what protects the CRM; it outlives changes of the configuration.  ``client`` is there when its
    requests are signed with OAuth2 tokens.
    """

    name: str
    adapter: CRMAdapter[Any]
    account: Account = field(default_factory=Account)
    index: IndexConfig | None = None
    client: OAuthClient | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tenant:
    """One customer.  A ``Tenant`` and never a string is what the other rooms get.

    ``secrets`` holds per receiver (``insights``, ``pbx`` …) the SHA-256 digests (32 bytes each) that are
    valid now; ``revision`` changes whenever anything of the configuration does; ``own_numbers`` are E.164.
    """

    id: str
    name: str
    region: str
    timezone: ZoneInfo
    revision: str
    secrets: Mapping[str, tuple[bytes, ...]]
    sources: tuple[Source, ...]
    own_numbers: frozenset[str] = frozenset()
    lookup: LookupConfig = field(default_factory=LookupConfig)
    calls: CallsConfig = field(default_factory=CallsConfig)
    recordings: RecordingsConfig = field(default_factory=RecordingsConfig)

    def source(self, name: str) -> Source | None:
        """Return the source called ``name``."""
        return next((source for source in self.sources if source.name == name), None)
