"""What the running server leaves in its data folder for commands in another shell: where it is, and what it uses."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from middleware.errors import ConfigError
from middleware.settings import Settings, address

FILE = "server.json"
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_PORTS = range(10_100, 32_768)  # of these Linux, as it comes, gives none to a connection that goes out


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server of a data folder: ``base_url`` is where this machine reaches it, ``public_url`` where senders do."""

    base_url: str
    public_url: str
    pid: int
    has_redis: bool


def local_url(settings: Settings) -> str:
    """Return where this machine reaches the server."""
    host = "127.0.0.1" if settings.host in _EVERY_ADDRESS else settings.host
    return f"http://{address(host, settings.port)}"


def assert_free(host: str, port: int) -> None:
    """Raise ``OSError`` where gunicorn could not listen."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on, and that hardly anybody takes while its server starts.

    ``OSError`` at a host that is not here.
    """
    while True:
        port = secrets.choice(_PORTS)  # not by random: tests in two processes share its seed
        try:
            assert_free(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port


def remember_server(settings: Settings) -> None:
    """Leave word of this process."""
    server = Server(
        base_url=local_url(settings),
        public_url=settings.public_url,
        pid=os.getpid(),
        has_redis=settings.redis_url is not None,
    )
    (settings.data / FILE).write_text(json.dumps(asdict(server)), encoding="utf-8")


def find_server(data: Path) -> Server | None:
    """Return the server that runs with the data folder."""
    try:
        server = Server(**json.loads((data / FILE).read_text(encoding="utf-8")))
        with suppress(PermissionError):  # another user's
            os.kill(server.pid, 0)
    except (OSError, ValueError, TypeError):  # none; or it has ended, or is of another version
        return None
    return server


def public_url(settings: Settings) -> str:
    """Return what the customers' URLs begin with: as configured in this shell, else as the running server has it."""
    server = find_server(settings.data) if settings.is_url_default else None
    return server.public_url if server else settings.public_url


def assert_same_redis(settings: Settings) -> None:
    """Raise ``ConfigError`` where the running server shares answers through a Redis that this shell does not know."""
    server = find_server(settings.data)
    if server and server.has_redis and not settings.redis_url:
        why = "the running server uses Redis, and this shell does not: other machines may still know it"
        raise ConfigError("M8CRM_REDIS_URL", [f"{why}; set it as the server has it, and do it again"])
