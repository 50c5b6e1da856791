"""``Teller``: tells a person of an alarm, by webhook, by command or both, within ``SECONDS``."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import requests

from middleware.crm.threads import DaemonPool

SECONDS = 10.0  # for each way
_KEPT = ("PATH", "HOME", "LANG", "TZ")  # of the environment, for the command: the rest holds secrets

Failures = dict[str, str | None]  # how each way of telling failed, in a word; None is success


class Teller:
    """Tells by all ways that are configured; what it says of a failure holds neither the URL nor the command."""

    def __init__(self, url: str | None, command: str | None) -> None:
        self._ways: dict[str, Callable[[bytes], str | None]] = {}
        if url:
            self._ways["webhook"] = lambda body: _post(url, body)
        if command:
            self._ways["command"] = lambda body: _run(command, body)
        self._pool = DaemonPool("alarm")

    @property
    def is_configured(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._ways)

    def tell(self, document: Mapping[str, Any]) -> Failures:
        """Tell by every way at the same time; never raises."""
        body = json.dumps(document).encode()
        under_way = {}
        failures: Failures = {}
        for name, way in self._ways.items():
            try:
                under_way[name] = self._pool.submit(way, body)
            except RuntimeError:
                failures[name] = "no thread can be started"
        for name, future in under_way.items():
            try:
                failures[name] = future.result(timeout=SECONDS + 1)
            except Exception as error:  # a hanging server's thread is left to itself
                failures[name] = type(error).__name__
        return failures


def _post(url: str, body: bytes) -> str | None:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Content-Type": "application/json"}
        answer = session.post(url, body, headers=headers, timeout=SECONDS / 2, allow_redirects=False, stream=True)
        return None if answer.ok and answer.status_code < 300 else f"answered {answer.status_code}"


def _run(command: str, body: bytes) -> str | None:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen(  # noqa: S603 - the hoster's own command, and no shell
        shlex.split(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        process.communicate(body, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        process.wait()
        return "did not end in time"
    return None if process.returncode == 0 else f"ended with status {process.returncode}"
