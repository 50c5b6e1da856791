"""A gunicorn worker in a thread of the test's own process, so that a test sees what it does."""

from __future__ import annotations

import os
import runpy
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from middleware.settings import ROOT

Address = tuple[str, int]


@contextmanager
def served(
    app: Callable[..., Any], kind: type[ThreadWorker], prepare: Callable[[Any], None] = lambda _worker: None, **own: Any
) -> Iterator[tuple[Any, Address]]:
    """Run a worker over ``app`` with the product's own settings and the test's ``own``; ``prepare`` sees it before."""
    cfg = Config()
    product = runpy.run_path(str(ROOT / "config" / "gunicorn.conf.py"))
    for name, value in {**product, **own}.items():
        if name in cfg.settings and name not in ("bind", "chdir", "worker_class"):
            cfg.set(name, value)
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        loaded = SimpleNamespace(callable=app, wsgi=lambda: app)
        worker = kind(0, os.getppid(), [listener], loaded, 30, cfg, Logger(cfg))
        worker.tpool = worker.get_thread_pool()
        worker.poller = selectors.DefaultSelector()
        worker.method_queue.init()
        worker.load_wsgi()
        prepare(worker)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield worker, listener.getsockname()
        finally:
            if thread.is_alive():
                worker.handle_exit(None, None)
            thread.join()
            worker.tpool.shutdown()
            worker.tmp.close()


def exchange(address: Address, *pieces: bytes) -> bytes:
    """Send ``pieces`` and hang up behind them; return everything that is answered."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # refused before it was all there
            pass
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the end."""
    got = bytearray()
    while True:
        try:
            data = connection.recv(65_536)
        except ConnectionResetError:
            data = b""
        if not data:
            return bytes(got)
        got += data


def read_answer(connection: socket.socket) -> bytes:
    """Return one answer that says how long its body is."""
    got = bytearray()
    while b"\r\n\r\n" not in got:
        data = connection.recv(1)
        assert data, bytes(got)
        got += data
    length = next((int(line[15:]) for line in bytes(got).split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    while length:
        data = connection.recv(length)
        assert data, bytes(got)
        got += data
        length -= len(data)
    return bytes(got)
