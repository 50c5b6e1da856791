"""A Redis that fails costs next to nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import structlog
from structlog.testing import capture_logs

from middleware.errors import ConfigError
from middleware.shared_store import CONNECTIONS, OWNED_FOR, OWNER, PAUSE, SharedStore
from tests.conftest import KEY


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def fake_redis(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Listen like Redis, send ``answer`` to whatever comes, and list what came."""
    came: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                came.append(data)
                if answer:
                    connection.sendall(answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}", came
        listener.shutdown(socket.SHUT_RDWR)


def ping(client: redis.Redis) -> bool:
    return bool(client.ping())


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"redis://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b":x\r\n", b"*2\r\n" * 3000, b"\xff\r\n"])
def test_a_silent_or_mad_redis_is_asked_once_in_a_second(answer: bytes) -> None:
    """While Redis answers nothing or nonsense, one call in a second waits for it and the others do without."""
    clock = Clock()
    with fake_redis(answer) as (url, came):
        store = SharedStore(url, clock=clock, key=KEY)
        for _ in range(3):
            assert [store.call(ping, "none") for _ in range(50)] == ["none"] * 50
            clock.now += PAUSE
        store.close()
        assert 0 < sum(b"PING" in data or b"CLIENT" in data for data in came) <= 3


def test_a_dead_redis_is_tried_once_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the port is closed, one call in a second tries it."""
    clock = Clock()
    tries: list[object] = []
    find = socket.getaddrinfo

    def found(*args: Any) -> Any:
        tries.append(args)
        return find(*args)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    store = SharedStore(closed_port(), clock=clock, key=KEY)
    for _ in range(3):
        assert [store.call(ping, "none") for _ in range(50)] == ["none"] * 50
        clock.now += PAUSE
    assert len(tries) == 3


def test_only_one_call_tries_whether_redis_is_back(redis_server: str) -> None:
    """When the pause is over, one call tries; those that come meanwhile do not wait for it."""
    clock = Clock()
    store = SharedStore(redis_server, clock=clock, key=KEY)
    store.call(lambda _: 1 / 0, None)
    clock.now += PAUSE
    assert store.call(lambda _: store.call(lambda _: "second", "left alone"), None) == "left alone"
    assert store.call(lambda _: "third", None) == "third"


def test_an_outage_is_told_once_and_its_end_too(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says when Redis fails and when it is back, by the error's class, and never what was asked."""
    monkeypatch.setattr("middleware.shared_store.log", structlog.get_logger())  # one that has no output yet
    clock = Clock()
    store = SharedStore(redis_server, clock=clock, key=KEY)

    def fail(_: redis.Redis) -> None:
        raise redis.exceptions.OutOfMemoryError("+46701740605")

    with capture_logs() as logs:
        for _ in range(3):
            store.call(fail, None)
            clock.now += PAUSE
        assert store.call(ping, None) is True
    store.close()
    assert [line["event"] for line in logs] == ["redis_is_down", "redis_is_back"]
    assert logs[0]["error"] == "OutOfMemoryError"
    assert "4670" not in str(logs)


@pytest.mark.parametrize(("setting", "value", "reset"), [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")])
def test_a_redis_that_takes_no_writes_fails_nobody(redis_server: str, setting: str, value: str, reset: str) -> None:
    """A full Redis and one that refuses writes are failures like any other."""
    store = SharedStore(redis_server, key=KEY)
    with redis.Redis.from_url(redis_server) as admin:
        admin.config_set(setting, value)
        try:
            assert store.call(lambda client: client.set("a", "b"), "none") == "none"
            assert store.is_down
        finally:
            admin.config_set(setting, reset)
    store.close()


def test_more_threads_than_connections_share_them(redis_server: str) -> None:
    """Four times as many threads as connections are all answered, and Redis is not taken for dead."""
    store = SharedStore(redis_server, key=KEY)
    start = threading.Barrier(4 * CONNECTIONS)
    answers: list[bool] = []

    def run() -> None:
        start.wait()
        answers.append(store.call(ping, False))

    threads = [threading.Thread(target=run) for _ in range(4 * CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not store.is_down
    assert any(answers)
    store.close()


@pytest.mark.parametrize("url", ["localhost:6379", "http://:hunter2@localhost", "redis://:hunter2@localhost:port"])
def test_a_wrong_url_is_told_without_its_password(url: str) -> None:
    """A URL that is none is a configuration error that names the variable and not the password."""
    with pytest.raises(ConfigError) as caught:
        SharedStore(url, key=KEY)
    assert "M8CRM_REDIS_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_name_that_is_not_found_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the DNS hangs, calls do without Redis; only so many threads hang with it."""
    clock, release = Clock(), threading.Event()
    entered: list[object] = []
    find = socket.getaddrinfo

    def hang(*args: Any) -> Any:
        entered.append(args)
        release.wait(30)
        return find("127.0.0.1", 1, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    store = SharedStore("redis://redis.example:6379", clock=clock, key=KEY)
    for _ in range(CONNECTIONS + 4):
        assert store.call(ping, "none") == "none"
        clock.now += PAUSE
    assert not release.is_set()
    assert len(entered) == CONNECTIONS
    release.set()


def test_connection_that_comes_too_late_is_closed(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is found when nobody waits any more leaves no open connection, and the next call is served."""
    clock, release = Clock(), threading.Event()
    find = socket.getaddrinfo
    waits = [True]

    def hang(*args: Any) -> Any:
        if waits and waits.pop():
            release.wait(30)
        return find(*args)

    with redis.Redis.from_url(redis_server) as admin:
        before = len(admin.client_list())
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        store = SharedStore(redis_server, clock=clock, key=KEY)
        assert store.call(ping, "none") == "none"
        connecting = [thread for thread in threading.enumerate() if thread.name == "redis-connect"]
        release.set()
        for thread in connecting:
            thread.join(10)
        clock.now += PAUSE
        assert store.call(ping, False) is True
        while len(admin.client_list()) != before + 1:
            pass  # pytest's time-out ends it
    store.close()


def test_machines_with_different_keys_notice(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has another key than the others leaves Redis alone, says so once, and comes in when it is theirs."""
    monkeypatch.setattr("middleware.shared_store.log", structlog.get_logger())  # one that has no output yet
    clock = Clock()
    ours = SharedStore(redis_server, clock=clock, key=KEY)
    other = SharedStore(redis_server, clock=clock, key=b"another key")
    assert ours.call(ping, False) is True
    with capture_logs() as logs:
        for _ in range(5):
            assert other.call(ping, "left alone") == "left alone"
            clock.now += PAUSE
        assert ours.call(ping, False) is True
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [("error", "keys_differ")]
    with redis.Redis.from_url(redis_server) as admin:
        admin.flushall()
    assert other.call(ping, False) is True
    clock.now += OWNED_FOR
    assert ours.call(ping, "left alone") == "left alone"
    ours.close()
    other.close()


@pytest.mark.parametrize("owner", ["list", "full"])
def test_owner_is_known_in_a_mad_or_full_redis(redis_server: str, owner: str) -> None:
    """Nonsense where the fingerprint belongs is overwritten; a full Redis that knows us lets us in."""
    clock = Clock()
    store = SharedStore(redis_server, clock=clock, key=KEY)
    with redis.Redis.from_url(redis_server) as admin:
        if owner == "list":
            admin.rpush(OWNER, "nonsense")
            assert store.call(ping, False) is True
            assert admin.type(OWNER) == b"string"
        else:
            assert store.call(ping, False) is True
            clock.now += OWNED_FOR
            admin.config_set("maxmemory", "1")
            assert store.call(ping, False) is True
            admin.config_set("maxmemory", "0")
    store.close()
