"""Writes customers' files: atomically, one writer at a time, and with a person's comments kept."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.exceptions

from middleware.errors import ConfigError
from middleware.tenants.config import RECEIVERS, TENANT_ID, load_tenant, read_tenant
from middleware.tenants.secrets import digest, new_secret

PLAIN = ("name", "region", "timezone", "own_numbers")  # what a form or an option changes; the rest is for an editor
_LINE = re.compile(r"^line \d+: ")
_TEMPLATE = """\
# A change of this file is in force within a second; `m8crm check` says what is wrong with it.
name = {name}
region = {region}                # the country (ISO 3166) that reads numbers without a country code
timezone = {timezone}
own_numbers = []             # the customer's own numbers: never looked up

[secrets]
insights = [{digest}]

[lookup]
budget = "2.6s"              # of M8Com's 3 s
miss = "404"                 # or "204", or "empty" (200 and {{}})

# Connect a CRM; `m8crm adapters` lists them, adapters/README.rst has what each one needs.
# [[crm]]
# adapter = "sql"
# url = {{ env = "{variable}_DATABASE_URL" }}
# [crm.queries]
# find_contacts = "SELECT id, name AS display_name, phone AS number FROM contacts WHERE phone LIKE '%' || :suffix"
"""


def create_tenant(folder: Path, tenant_id: str, *, name: str, region: str, timezone: str = "UTC") -> tuple[Path, str]:
    """Write a new customer's file; return it and his secret, which is kept nowhere else.

    Raises ``ConfigError`` for what cannot be, and leaves nothing behind then.
    """
    if not TENANT_ID.fullmatch(tenant_id):
        raise ConfigError(tenant_id, ["is no customer id: use up to 63 of a-z, 0-9 and -, the first no -"])
    path = folder / f"{tenant_id}.toml"
    secret = new_secret()
    values = {"name": name, "region": region.upper(), "timezone": timezone, "digest": digest(secret)}
    quoted = {key: tomlkit.string(value).as_string() for key, value in values.items()}
    text = _TEMPLATE.format(**quoted, variable=tenant_id.upper().replace("-", "_"))
    with _writing(folder, path):
        if path.exists():
            raise ConfigError(path.name, ["exists already; m8crm tenant secret makes another secret"])
        replace_file(path, text)
        try:
            load_tenant(path)
        except ConfigError:
            path.unlink()
            raise
    return path, secret


def read_plain(folder: Path, tenant_id: str) -> dict[str, str]:
    """Return the plain settings as the file has them, right or wrong; own numbers with commas between them."""
    _, document = _read(folder, tenant_id)
    return {name: _plain(document.get(name, "")) for name in PLAIN}


def change_tenant(folder: Path, tenant_id: str, given: dict[str, str]) -> list[str]:
    """Write plain settings, as :func:`read_plain` returns them; return the names of those that are other ones now.

    Raises ``ConfigError`` where the file is not right with them, and leaves it as it was.  What was wrong elsewhere
    before forbids nothing: it may be a variable that only the server has.
    """
    with _writing(folder, folder / f"{tenant_id}.toml"):
        path, document = _read(folder, tenant_id)
        was_right = not _problems(path, tomlkit.dumps(document))
        new = {name: _written(name, text) for name, text in given.items() if name in PLAIN}
        changed = [name for name, value in new.items() if _plain(value) != _plain(document.get(name, ""))]
        document.update({name: new[name] for name in changed})
        after = tomlkit.dumps(document)
        wrong = [one for one in _problems(path, after) if was_right or one.partition(":")[0] in changed]
        if wrong:
            raise ConfigError(path.name, wrong)
        if changed:
            replace_file(path, after)
    return changed


def _written(name: str, text: str) -> str | list[str]:
    if name == "own_numbers":
        return [number.strip() for number in re.split(r"[,;\r\n]", text) if number.strip()]
    return text.strip().upper() if name == "region" else text.strip()


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _problems(path: Path, text: str) -> list[str]:
    """Return what is wrong with the customer's file if it has the ``text``; without lines, which a change moves."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.") as draft:
        draft.write(text)
        draft.flush()
        try:
            tenant, _ = read_tenant(path, copy=Path(draft.name))
        except ConfigError as error:
            return [_LINE.sub("", problem) for problem in error.problems]
    for source in tenant.sources:
        source.adapter.close()
    return []


def add_secret(folder: Path, tenant_id: str, receiver: str) -> str:
    """Add a new secret beside those that are valid, and return it; it is kept nowhere else."""
    secret = new_secret()
    with _writing(folder, folder / f"{tenant_id}.toml"):
        path, document = _read(folder, tenant_id)
        _secrets(document, receiver, path).append(digest(secret))
        replace_file(path, tomlkit.dumps(document))
    return secret


def revoke_secret(folder: Path, tenant_id: str, receiver: str, prefix: str) -> None:
    """Take the secret away whose digest begins with ``prefix``; the last one stays, or nobody could call."""
    with _writing(folder, folder / f"{tenant_id}.toml"):
        path, document = _read(folder, tenant_id)
        secrets, begin = _secrets(document, receiver, path), f"sha256:{prefix}"
        found = [i for i, entry in enumerate(secrets) if isinstance(entry, str) and entry.startswith(begin)]
        if len(found) != 1 or not prefix:
            words = f"secrets.{receiver}: {len(found)} secrets begin so; m8crm tenant secret --list"
            raise ConfigError(path.name, [words])
        if len(secrets) == 1:
            raise ConfigError(path.name, [f"secrets.{receiver}: this is the last one; add another first"])
        del secrets[found[0]]
        replace_file(path, tomlkit.dumps(document))


def list_secrets(folder: Path, tenant_id: str) -> dict[str, list[str]]:
    """Return how each receiver's secrets may be told apart: the first digits of a digest, or where it lies."""
    _, document = _read(folder, tenant_id)
    return {
        receiver: [entry[7:15] if isinstance(entry, str) else str(dict(entry)) for entry in entries]
        for receiver, entries in document.get("secrets", {}).items()
    }


def find_plain_secret(folder: Path, tenant_id: str, receiver: str) -> str | None:
    """Return a secret that the customer's file takes from the environment or another file; ``None`` for digests."""
    path, document = _read(folder, tenant_id)
    for entry in document.get("secrets", {}).get(receiver, ()):
        text = None
        if isinstance(entry, dict) and "env" in entry:
            text = os.environ.get(str(entry["env"]))
        elif isinstance(entry, dict) and "file" in entry:
            with suppress(OSError, UnicodeError):
                text = (path.parent / str(entry["file"])).read_text(encoding="utf-8").strip()
        if text and not text.startswith("sha256:"):
            return text
    return None


def _read(folder: Path, tenant_id: str) -> tuple[Path, tomlkit.TOMLDocument]:
    path = folder / f"{tenant_id}.toml"
    if not TENANT_ID.fullmatch(tenant_id) or not path.exists():
        raise ConfigError(tenant_id, [f"is no customer in {folder}; m8crm tenant list shows them"])
    try:
        return path, tomlkit.parse(path.read_text(encoding="utf-8"))
    except (tomlkit.exceptions.ParseError, UnicodeDecodeError) as error:
        raise ConfigError(path.name, [f"is not TOML: {error}"]) from None


def _secrets(document: tomlkit.TOMLDocument, receiver: str, path: Path) -> Any:
    if receiver not in RECEIVERS:
        raise ConfigError(path.name, [f"{receiver!r} is no receiver; known: {', '.join(RECEIVERS)}"])
    table: Any = document.setdefault("secrets", tomlkit.table())
    return table.setdefault(receiver, tomlkit.array())


@contextmanager
def _writing(folder: Path, path: Path) -> Iterator[None]:
    """Let nobody else write a customer's file meanwhile, or one of two new secrets was lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(place, fcntl.LOCK_EX)  # until it is closed
            yield
        finally:
            os.close(place)
    except OSError as error:
        raise ConfigError(path.name, [f"cannot be written ({error.strerror}): check the folder's rights"]) from None


def replace_file(path: Path, text: str, *, is_durable: bool = True) -> None:
    """Replace the file in one step: a reader sees the old or the new one; on the disk at once if ``is_durable``."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if is_durable:
            os.fsync(file.fileno())
    if path.exists():
        Path(draft).chmod(path.stat().st_mode & 0o777)
    Path(draft).replace(path)
