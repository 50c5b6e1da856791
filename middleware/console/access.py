"""``Access``: who may come in, who is in, and what they did; for the pages and for the command line alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from middleware.console.audit import REFUSED, AuditLog
from middleware.console.links import Links
from middleware.console.roles import Viewer
from middleware.console.sessions import Sessions
from middleware.console.users import Users
from middleware.inbox.store import Inbox
from middleware.logs import masked

WINDOW = timedelta(minutes=15)
# refused sign-ins within the window, after which nobody is heard: as one name from one address, from one address, as
# one name.  The last is the largest: who guesses from many addresses can lock an owner out, but not soon.
MOST_TOGETHER, MOST_OF_ADDRESS, MOST_OF_NAME = 10, 50, 100
NOBODY = "(unknown)"  # in the audit log: a name without an account may be a password in the wrong field


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What decides who may come in; all machines that share the database decide alike."""

    users: Users
    sessions: Sessions
    links: Links
    audit: AuditLog
    key: bytes = field(repr=False)

    def sign_in(self, name: str, password: str, address: str) -> Viewer | None:
        """Return who it is, or ``None`` for a wrong name or password; both are written down."""
        viewer = self.users.verify(name, password)
        if viewer is None:
            who = name if self.users.is_known(name) else NOBODY
            self.audit.note(who, REFUSED, about=self._mark(name), address=address)
        else:
            self.audit.note(viewer.name, "signed in", viewer.customer, address=address)
        return viewer

    def refuse_openid(self, address: str) -> None:
        """Write down that somebody did not come in by OpenID, and from where."""
        self.audit.note(NOBODY, REFUSED, about="OpenID", address=address)

    def is_address_refused(self, address: str) -> bool:
        """Whether too many sign-ins from there were wrong lately, by whatever way."""
        return self.audit.refusals(WINDOW, address=address) >= MOST_OF_ADDRESS

    def is_refused(self, name: str, address: str) -> bool:
        """Whether too many sign-ins were wrong lately for this one to be heard; that tells not whose name it is."""
        mark, count = self._mark(name), self.audit.refusals
        return (
            count(WINDOW, about=mark, address=address) >= MOST_TOGETHER
            or self.is_address_refused(address)
            or count(WINDOW, about=mark) >= MOST_OF_NAME
        )

    def _mark(self, name: str) -> str:
        """Return what tells one typed name from another, and nothing else."""
        return masked(name, self.key).partition("…")[0]


def build_access(inbox: Inbox, key: bytes) -> Access:
    """Return it for the installation whose database and key these are."""
    database, now = inbox.database, inbox.now
    return Access(
        users=Users(database, now),
        sessions=Sessions(database, now),
        links=Links(database, now, key),
        audit=AuditLog(database, now),
        key=key,
    )
