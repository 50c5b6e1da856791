"""The API's description, as OpenAPI 3.1; a tenth of a second that only who asks for it need wait for."""

from __future__ import annotations

import json
from functools import cache

from flask import Flask
from flask_smorest import Api

from middleware import __version__
from middleware.web import events, lookup
from middleware.web.auth import TenantIdConverter
from middleware.web.schemas.lookup import ACTIVITY_SCHEMAS
from middleware.web.schemas.query import MessageSchema


class _Api(Api):  # type: ignore[misc]  # flask-smorest has no types
    ERROR_SCHEMA = MessageSchema


@cache
def openapi() -> str:
    """Return the description, as JSON."""
    app = Flask(__name__)  # the Api registers what it describes, and nobody calls it there
    app.config.update(API_TITLE="m8crm", API_VERSION=__version__, OPENAPI_VERSION="3.1.0")
    app.url_map.converters["tenant_id"] = TenantIdConverter
    api = _Api(app)
    tenant_id = {"type": "string", "pattern": f"^{TenantIdConverter.regex}$"}
    api.register_converter(TenantIdConverter, lambda _converter: tenant_id)
    for name, scheme in events.SECURITY_SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    api.spec.options["security"] = [{"bearer": []}]
    for name, schema in ACTIVITY_SCHEMAS.items():
        api.spec.components.schema(name, schema=schema)
    for blueprint in (lookup.blueprint, events.blueprint):
        api.register_blueprint(blueprint)
    return json.dumps(api.spec.to_dict(), indent=2)
