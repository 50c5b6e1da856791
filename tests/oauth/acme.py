"""An adapter whose CRM is the provider, and a customer who is reached by OAuth2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from middleware.crm.auth import AuthBase, bearer
from middleware.crm.base import Context, CRMAdapter, Finding
from middleware.crm.oauth import OAuth2
from middleware.crm.settings import Secret
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact, ContactNumber
from middleware.model.phone import PhoneNumber
from middleware.tenants.files import create_tenant
from tests.oauth.provider import CLIENT_ID, CLIENT_SECRET


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSettings:
    url: str
    token: Secret | None = None


class AcmeAdapter(CRMAdapter[AcmeSettings]):
    name = "acme"
    label = "Acme"
    settings_type = AcmeSettings

    @property
    def base_url(self) -> str:
        return self.settings.url

    def auth(self) -> AuthBase | None:
        return bearer(self.settings.token) if self.settings.token else None

    def oauth2(self) -> OAuth2:
        return OAuth2(
            authorize_url=f"{self.settings.url}/authorize",
            token_url=f"{self.settings.url}/token",
            revoke_url=f"{self.settings.url}/revoke",
            scopes=("contacts", "calls"),
            replaces="token",
        )

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        ctx.http.get("api/contacts")
        yield Contact(id="1", display_name="Ada Webb", numbers=(ContactNumber(number=str(number)),))

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        ctx.http.post("api/calls", json={"key": call.key})
        return LoggedCall(external_id="1")

    def check(self, ctx: Context) -> Iterable[Finding]:
        yield Finding(ok=ctx.http.get("api/me").ok, message="who we are")


ACCESS = f'auth = "oauth2"\nclient_id = "{CLIENT_ID}"\nclient_secret = "{CLIENT_SECRET}"\n'


def add_customer(folder: Path, url: str, access: str = ACCESS) -> str:
    """Write the customer ``nova`` into ``folder/customers``; return his secret."""
    path, secret = create_tenant(folder / "customers", "nova", name="Nova AB", region="SE")
    path.write_text(f'{path.read_text()}\n[[crm]]\nadapter = "acme"\nurl = "{url}"\n{access}')
    return secret
