"""Process settings, all from the environment (``M8CRM_*``), read once at start."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from environs import Env
from marshmallow import ValidationError
from marshmallow.validate import Range, Regexp

from middleware.errors import ConfigError
from middleware.failpoints import parse

_FITS_A_HEADER = r"\Z|[A-Za-z0-9._~+/=-]{16,}\Z"  # none, or one that fits a header (RFC 6750) and is not guessed
_TOO_SHORT = "must be 16 or more letters, digits or any of ._~+/=-"
_NEAR = "127.0.0.0/8 ::1/128 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7".split()
LEASE_PER_ATTEMPT = 2.5  # an attempt, the time to note how it ended, and one that two machines' clocks may differ by
ROOT = Path(__file__).resolve().parent.parent  # where wsgi.py and config/ lie


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a process needs to know; every field is the variable ``M8CRM_<NAME>``.

    ``customers``: folder of the customers' files.  ``data``: folder of the database and the installation's key.
    ``database_url``: SQLAlchemy URL of the inbox, by default SQLite in ``data``.  ``public_url``: what the
    customers' URLs begin with.  ``delivery``: whether web workers started by gunicorn alone also deliver.
    ``threads``: of a web process, and searches that it waits for.  ``max_body``: bytes.  ``cache_bytes``: of kept
    answers, per process.  ``read_timeout``: seconds in which a request must have come as a whole.  ``redis_url``:
    the Redis that several machines share; none is needed.  ``trusted_proxies``: networks whose word is taken for who
    sent a request.  ``recordings``: folder or object-store URL of kept
    recordings.  ``metrics_token``: with which ``/-/metrics`` is read; without one there is none.  ``alarm_url``: gets
    every alarm as JSON; ``alarm_command`` is run with it on its standard input.  ``alarm_after``: seconds that the
    oldest due call may wait.  ``alarm_disk``: bytes that must be left on the disk of ``data``.
    ``attempt``: seconds that one try to write a call into a CRM may take.  ``lease``: seconds after which another
    worker goes on with what a silent one has begun.  ``token_keys``: the file with the keys of the OAuth2 tokens in
    the database.  ``console``: whether there are pages for people; ``console_url``: where the process is that has
    them, if it is another one; ``oidc_…``: the OpenID Connect provider whose
    people may sign in there, and which value of which claim gives which role (docs/console.rst).
    ``fail_at``: for testers, see :mod:`middleware.failpoints`.
    """

    customers: Path
    data: Path
    database_url: str
    public_url: str
    host: str
    port: int
    web_workers: int
    threads: int
    delivery: bool
    max_body: int
    cache_bytes: int
    read_timeout: float
    log_level: str
    log_format: str
    recordings: str
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    redis_url: str | None = None
    metrics_token: str | None = None
    alarm_url: str | None = None
    alarm_command: str | None = None
    alarm_after: float = 45.0
    alarm_disk: int = 1024**3
    attempt: float = 10.0
    lease: float = 30.0
    token_keys: str = ""
    console: bool = False
    console_url: str | None = None
    oidc_issuer: str | None = None
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_claim: str = "roles"
    oidc_roles: str = ""
    fail_at: str | None = None

    @property
    def is_url_default(self) -> bool:
        """Whether ``public_url`` is what is taken when none is configured."""
        return self.public_url == f"http://{address(self.host, self.port)}"


def _is_failpoint(text: str) -> None:
    try:
        parse(text) if text else None
    except ValueError as error:
        raise ValidationError(str(error)) from None


def address(host: str, port: int | str) -> str:
    """Return both as a URL holds them (RFC 3986, 3.2.2), whether or not the host has its brackets already."""
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


def load_settings(data: Path | None = None) -> Settings:
    """Read the environment; ``data`` (the command line's ``--data``) holds database and ``customers/``.

    Raises :class:`ConfigError` that names every bad variable at once.
    """
    at_least_one = Range(min=1)
    env = Env(prefix="M8CRM_", eager=False)
    folder = data or Path(env.str("DATA", str(ROOT / "var")))
    customers = folder / "customers" if data else Path(env.str("CUSTOMERS", str(ROOT / "config" / "customers")))
    host = env.str("HOST", "127.0.0.1").strip("[]")
    port = env.int("PORT", 8080, validate=Range(0, 65535))
    sqlite = f"sqlite:///{folder.resolve() / 'm8crm.db'}"
    values = {
        "customers": customers.resolve(),
        "data": folder.resolve(),
        "database_url": sqlite if data else env.str("DATABASE_URL", sqlite),
        "public_url": env.str("PUBLIC_URL", f"http://{address(host, port)}"),
        "host": host,
        "port": port,
        "web_workers": env.int("WEB_WORKERS", 2, validate=at_least_one),
        "threads": env.int("THREADS", 256, validate=at_least_one),
        "delivery": env.bool("DELIVERY", True),
        "max_body": env.int("MAX_BODY", 256 * 1024),
        "cache_bytes": env.int("CACHE_BYTES", 64 * 1024 * 1024),
        "read_timeout": env.float("READ_TIMEOUT", 10.0),
        "log_level": env.str("LOG_LEVEL", "INFO"),
        "log_format": env.str("LOG_FORMAT", "json"),
        "recordings": str(folder.resolve() / "recordings")
        if data
        else env.str("RECORDINGS", str(folder.resolve() / "recordings")),
        "trusted_proxies": tuple(env.list("TRUSTED_PROXIES", list(map(ip_network, _NEAR)), subcast=ip_network)),
        "redis_url": env.str("REDIS_URL", "") or None,
        "metrics_token": env.str("METRICS_TOKEN", "", validate=Regexp(_FITS_A_HEADER, error=_TOO_SHORT)) or None,
        "alarm_url": env.str("ALARM_URL", "") or None,
        "alarm_command": env.str("ALARM_COMMAND", "") or None,
        "alarm_after": env.float("ALARM_AFTER", 45.0, validate=Range(min=0, min_inclusive=False)),
        "alarm_disk": env.int("ALARM_DISK", 1024**3, validate=Range(min=0)),
        "attempt": env.float("ATTEMPT", 10.0, validate=Range(min=0, min_inclusive=False)),
        "lease": env.float("LEASE", 30.0),
        "token_keys": ("" if data else env.str("TOKEN_KEYS", "")) or str(folder.resolve() / "token.keys"),
        "console": env.bool("CONSOLE", False),
        "console_url": env.str("CONSOLE_URL", "") or None,
        "oidc_issuer": env.str("OIDC_ISSUER", "") or None,
        "oidc_client_id": env.str("OIDC_CLIENT_ID", ""),
        "oidc_client_secret": env.str("OIDC_CLIENT_SECRET", ""),
        "oidc_claim": env.str("OIDC_CLAIM", "roles"),
        "oidc_roles": env.str("OIDC_ROLES", ""),
        "fail_at": env.str("FAIL_AT", "", validate=_is_failpoint) or None,
    }
    try:
        env.seal()
    except Exception as error:  # environs raises its own ValidationError with all faults
        raise ConfigError("environment", [str(error)]) from None
    settings = Settings(**values)  # type: ignore[arg-type]
    if settings.lease < LEASE_PER_ATTEMPT * settings.attempt:
        # two workers would write the same call: the one that still tries, and the one that takes it for dead
        least = f"{LEASE_PER_ATTEMPT * settings.attempt:g}"
        raise ConfigError(
            "environment", [f"M8CRM_LEASE: must be {least} or more, as M8CRM_ATTEMPT is {settings.attempt:g}"]
        )
    return settings
