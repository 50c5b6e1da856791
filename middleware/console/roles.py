"""Who looks at the console, and what he may see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from middleware.tenants.registry import Tenants
from middleware.tenants.tenant import Tenant


class Role(StrEnum):
    """``HOSTER`` runs the installation, ``CARE`` helps customers, ``CUSTOMER`` is one of them and sees himself.

    ``CARE`` sees every customer, but no secret, and bodies masked.
    """

    HOSTER = "hoster"
    CARE = "care"
    CUSTOMER = "customer"


ALL = frozenset(Role)
STAFF = frozenset({Role.HOSTER, Role.CARE})
HOSTER = frozenset({Role.HOSTER})

OFFERED = 300  # ids in a form


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Somebody who has signed in; ``customer`` is the only one he may see, ``None`` is all.

    ``is_reader`` came by a link and changes nothing.
    """

    name: str
    role: Role
    customer: str | None = None
    is_reader: bool = False

    def may_see(self, customer: str) -> bool:
        """Whether the customer's pages are his to see; every view that names a customer asks."""
        if self.role is Role.CUSTOMER:
            return customer == self.customer
        return True

    def tenant(self, tenants: Tenants, customer: str) -> Tenant | None:
        """Return the customer unless there is none, he has no valid file, or he is somebody else's."""
        return tenants.get(customer) if self.may_see(customer) else None

    def customers(self, tenants: Tenants) -> list[str]:
        """Return the ids of the customers he may see."""
        return [customer for customer in tenants.ids() if self.may_see(customer)]

    def offered(self, tenants: Tenants) -> list[str]:
        """Return the ids that a form offers: of many none, since the page would be all ids."""
        ids = self.customers(tenants)
        return ids if len(ids) <= OFFERED else []
