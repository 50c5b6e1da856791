"""The WSGI applications: the web's, and that of the process with the console's pages."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from flask import Flask

from middleware.console.access import build_access
from middleware.console.apart import Apart, answer_for_others
from middleware.console.mount import mount as mount_console
from middleware.errors import ConfigError
from middleware.logs import configure_logs
from middleware.parts import Parts, build_parts, build_trial
from middleware.settings import Settings, load_settings
from middleware.web import docs, events, health, lookup, oauth, recordings
from middleware.web.auth import TenantIdConverter
from middleware.web.problems import handle_problems
from middleware.web.requests import watch_requests

if TYPE_CHECKING:  # an extra
    from middleware.console.openid import OpenID


def create_app(settings: Settings | None = None, *, parts: Parts | None = None) -> Flask:
    """Return the WSGI application."""
    settings = parts.settings if parts else settings or load_settings()
    configure_logs(settings.log_level, settings.log_format)
    parts = parts or build_parts(settings)
    app = Flask("m8crm", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=settings.max_body + 1, PROPAGATE_EXCEPTIONS=False)  # the first for read_body
    app.extensions["m8crm"] = parts
    app.url_map.merge_slashes = False  # a redirect would repeat the path, and with it whatever is in it
    app.url_map.converters["tenant_id"] = TenantIdConverter
    watch_requests(app, parts.key)
    handle_problems(app)
    for room in (lookup, events, recordings, health, oauth, docs):
        app.register_blueprint(room.blueprint)
    if settings.console:
        apart = Apart(settings.console_url, parts.key) if settings.console_url else None
        mount_console(app, build_access(parts.inbox, parts.key), build_trial(parts), _openid(parts), apart)
    return app


def create_console() -> Flask:
    """Return the WSGI application of the process that has the console's pages."""
    app = create_app(replace(load_settings(), console=True, console_url=None))
    answer_for_others(app, app.extensions["m8crm"].key)
    return app


def _openid(parts: Parts) -> OpenID | None:
    """Return who asks the provider that vouches for people; raises ``ConfigError`` for settings that cannot be."""
    settings = parts.settings
    if settings.oidc_issuer is None:
        return None
    if find_spec("authlib") is None or find_spec("joserfc") is None:
        raise ConfigError("M8CRM_OIDC_ISSUER", ["needs the extra: pip install 'm8crm[openid]'"])
    from middleware.console.openid import OpenID, Provider, parse_roles  # noqa: PLC0415 - an extra

    provider = Provider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        claim=settings.oidc_claim,
        roles=parse_roles(settings.oidc_roles),
    )
    back = f"{settings.public_url.rstrip('/')}/-/console/openid/back"
    return OpenID(provider, redirect_uri=back, key=parts.key)
