"""``Vault``: encrypts what the database keeps of tokens, with keys that are not in the database.

The file has one Fernet key a line: the first encrypts, all decrypt.  It is read again when it changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from middleware.errors import ConfigError, VaultError
from middleware.installation_key import make_once, replace_secret


class Vault:
    """The keys in ``path``, which is made at first use, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._fernet: MultiFernet | None = None

    def seal(self, what: Mapping[str, Any]) -> str:
        """Return ``what``, which JSON can hold, encrypted."""
        return self._keys().encrypt(json.dumps(what).encode()).decode()

    def open(self, sealed: str) -> dict[str, Any]:
        """Return what was sealed; raises :class:`VaultError` when none of the keys has sealed it."""
        try:
            opened: dict[str, Any] = json.loads(self._keys().decrypt(sealed.encode()))
        except InvalidToken:
            raise VaultError(f"{self._path.name} lacks the key: copy the file from the machine that has it") from None
        return opened

    def reseal(self, sealed: str) -> str:
        """Return the same, encrypted with the first key."""
        try:
            return self._keys().rotate(sealed.encode()).decode()
        except InvalidToken:
            raise VaultError(f"{self._path.name} lacks the key of something in the database") from None

    def add_key(self) -> None:
        """Add a new key that decrypts only, so that it can be copied to other machines before it is used."""
        first, *others = self._lines()
        self._write([first, Fernet.generate_key().decode(), *others])

    def promote_key(self) -> None:
        """Have the second key encrypt from now on."""
        lines = self._lines()
        if len(lines) < 2:
            raise ConfigError(str(self._path), ["has one key only: m8crm tokens rotate --step prepare adds one"])
        self._write([lines[1], lines[0], *lines[2:]])

    def drop_keys(self) -> None:
        """Leave the first key alone."""
        self._write(self._lines()[:1])

    def count(self) -> int:
        """Return how many keys there are."""
        return len(self._lines())

    def _keys(self) -> MultiFernet:
        with self._lock:
            stamp = self._stamp_now()
            if self._fernet is None or stamp is None or stamp != self._stamp:
                lines = self._lines()
                try:
                    self._fernet, self._stamp = MultiFernet([Fernet(line) for line in lines]), self._stamp_now()
                except ValueError:
                    raise VaultError(f"{self._path.name} holds a line that is no key") from None
            return self._fernet

    def _lines(self) -> list[str]:
        try:
            if not self._path.exists():
                make_once(self._path, Fernet.generate_key() + b"\n")
            lines = self._path.read_text(encoding="ascii").split()
        except (OSError, ValueError) as error:
            raise VaultError(f"{self._path.name} cannot be read ({type(error).__name__})") from None
        if not lines:
            raise VaultError(f"{self._path.name} holds no key")
        return lines

    def _write(self, lines: list[str]) -> None:
        try:
            replace_secret(self._path, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise VaultError(f"{self._path} cannot be written ({type(error).__name__})") from None

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
