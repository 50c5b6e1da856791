"""``Relay``: a way to a server that can be cut off without either side hearing of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType


class Relay:
    """Passes bytes between its ``port`` and a server's until it is told not to.

    What is sent meanwhile is kept by the kernels, as by a switch that has lost its way, and arrives afterwards.
    Hand-written: toxiproxy, which does this, is packaged for nobody.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._is_open = threading.Event()
        self._is_open.set()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Relay:
        self._run(self._accept)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.heal()
        _shut(self._listener)
        self._threads[0].join()
        _shut(*self._ends)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def cut(self) -> None:
        """Pass nothing more; connections are still taken."""
        self._is_open.clear()

    def heal(self) -> None:
        """Pass everything again."""
        self._is_open.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._ends += [client, server]
                self._run(self._pass, client, server)
                self._run(self._pass, server, client)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with source, suppress(OSError):
            while data := source.recv(65_536):
                self._is_open.wait()
                target.sendall(data)
        _shut(target)

    def _run(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def _shut(*ends: socket.socket) -> None:
    """Have both sides hear that it is over."""
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
